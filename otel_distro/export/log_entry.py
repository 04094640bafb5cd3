"""A log record of a logging library on the short way to the queue, past what the SDK would build around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from otel_distro._upstream import SeverityNumber


class LogEntry(NamedTuple):
    """What an encoder reads of a ``ReadableLogRecord``, under the same names and in its order. Nobody changes it."""

    timestamp: int
    observed_timestamp: int
    trace_id: int
    span_id: int
    trace_flags: int
    severity_number: SeverityNumber
    severity_text: str
    body: Any
    attributes: dict[str, Any]
    event_name: str | None
    resource: Resource
    instrumentation_scope: Any

    @property
    def log_record(self) -> LogEntry:
        """The record itself: it is both halves of a ``ReadableLogRecord``."""
        return self
