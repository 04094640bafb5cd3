"""A log record of a logging library on the short way to the queue, past what the SDK would build around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from otel_distro._otel.sdk import SeverityNumber


class CodeLocation:
    """Attributes that many records share: where in the code, and in which thread. Nobody changes them.

    ``encoded``: for the encoder, which writes them once.
    """

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.encoded: tuple[Any, bytes] | None = None


class LogEntry(NamedTuple):
    """What an encoder reads of a ``ReadableLogRecord``, under the same names. Nobody changes it.

    ``extras``: attributes besides those of ``place``, with other keys.
    """

    timestamp: int
    observed_timestamp: int
    trace_id: int
    span_id: int
    trace_flags: int
    severity_number: SeverityNumber
    severity_text: str
    body: Any
    place: CodeLocation
    extras: dict[str, Any]
    resource: Resource
    instrumentation_scope: Any

    @property
    def event_name(self) -> None:
        """None: a log record is no event."""

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes."""
        return {**self.place.attributes, **self.extras}

    @property
    def log_record(self) -> LogEntry:
        """The record itself: it is both halves of a ``ReadableLogRecord``."""
        return self
