"""A log record on the fast path to the queue, which bypasses the SDK's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource

    from otel_distro._otel.sdk import SeverityNumber


class CodeLocation:
    """Attributes that many records share: the place in the code, and the thread. Immutable.

    ``encoded`` is the encoder's cache of them.
    """

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.encoded: tuple[Any, bytes, Callable[[Any], Any]] | None = None


class LogEntry(NamedTuple):
    """The fields of a ``ReadableLogRecord`` that an encoder reads, under the same names. Immutable.

    ``extras`` are attributes besides those of ``location``, with other keys.
    """

    timestamp: int
    observed_timestamp: int
    trace_id: int
    span_id: int
    trace_flags: int
    severity_number: SeverityNumber
    severity_text: str
    body: Any
    location: CodeLocation
    extras: dict[str, Any]
    resource: Resource
    instrumentation_scope: Any

    @property
    def event_name(self) -> None:
        """None: a log record is not an event."""

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes."""
        return {**self.location.attributes, **self.extras}

    @property
    def log_record(self) -> LogEntry:
        """The entry itself: it is both halves of a ``ReadableLogRecord``."""
        return self


class EventEntry(NamedTuple):
    """The same for an event, which has a name and attributes of its own. Immutable.

    All values of ``attributes`` are of plain types.
    """

    timestamp: int
    observed_timestamp: int
    trace_id: int
    span_id: int
    trace_flags: int
    severity_number: SeverityNumber
    severity_text: str
    body: Any
    attributes: dict[str, Any]
    event_name: str
    resource: Resource
    instrumentation_scope: Any

    @property
    def log_record(self) -> EventEntry:
        """The entry itself: it is both halves of a ``ReadableLogRecord``."""
        return self
