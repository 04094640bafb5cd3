"""A log record of a logging library on the short way to the queue, past what the SDK would build around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro import _upstream
from otel_distro.export.processors import QueueLogRecordProcessor

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import SpanContext

    from otel_distro._upstream import SeverityNumber


class LogEntry:
    """What an encoder reads of a ``ReadableLogRecord``, under the same names. Nobody changes it once it is queued."""

    __slots__ = (
        "attributes",
        "body",
        "event_name",
        "instrumentation_scope",
        "observed_timestamp",
        "resource",
        "severity_number",
        "severity_text",
        "span_id",
        "timestamp",
        "trace_flags",
        "trace_id",
    )

    def __init__(
        self,
        timestamp: int,
        observed_timestamp: int,
        severity_number: SeverityNumber,
        severity_text: str,
        body: Any,
        attributes: dict[str, Any],
        span: SpanContext,
        resource: Resource,
        instrumentation_scope: Any,
    ) -> None:
        self.timestamp = timestamp
        self.observed_timestamp = observed_timestamp
        self.severity_number = severity_number
        self.severity_text = severity_text
        self.body = body
        self.attributes = attributes
        self.trace_id = span.trace_id
        self.span_id = span.span_id
        self.trace_flags = span.trace_flags
        self.event_name = None
        self.resource = resource
        self.instrumentation_scope = instrumentation_scope

    @property
    def log_record(self) -> LogEntry:
        """The record itself: it is both halves of a ``ReadableLogRecord``."""
        return self


class ShortWay:
    """The way from one logger of the SDK to our queue, as long as nothing of the user's stands on it."""

    def __init__(self, logger: Any) -> None:
        self._read = _upstream.logger_fields if type(logger) is _upstream.Logger else None
        self._logger = logger

    def open(self, attributes: int) -> tuple[QueueLogRecordProcessor, Resource, Any] | None:
        """Return processor, resource and scope for a record of so many attributes, or None where the SDK must do it.

        It must where another processor was added, the logger is switched off, or a limit of attributes bites.
        """
        if self._read is None:
            return None
        enabled, processors, resource, scope, most, longest = self._read(self._logger)
        if (
            not enabled
            or len(processors) != 1
            or type(processors[0]) is not QueueLogRecordProcessor
            or longest is not None
            or (most is not None and attributes > most)
        ):
            return None
        return processors[0], resource, scope
