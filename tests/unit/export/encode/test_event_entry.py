"""An event on the fast path is encoded as the SDK's record of it."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_distro._otel.sdk import InMemoryLogRecordExporter, LoggerProvider, SeverityNumber, SimpleLogRecordProcessor
from otel_distro.export.encode.request import encode_logs
from otel_distro.export.log_entry import EventEntry
from tests.support.messages import logs_of


def test_event_entry_is_encoded_as_the_sdks_record() -> None:
    """Times, severity, name, body, attributes, trace and scope are the same bytes."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(
        Resource({"service.name": "shop"}), shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
    )
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("shop.errors", "1.0")
    attributes: dict[str, Any] = {"exception.type": "ValueError", "handled": True, "thread.id": 140_000_000_000_001}
    span = SpanContext(7, 8, False, TraceFlags(1))
    for context in (span, SpanContext(0, 0, False)):
        logger.emit(
            timestamp=5,
            observed_timestamp=6,
            context=set_span_in_context(NonRecordingSpan(context)),
            event_name="exception",
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body="ValueError: no",
            attributes=attributes,
        )
        entry: Any = EventEntry(
            5,
            6,
            context.trace_id,
            context.span_id,
            context.trace_flags,
            SeverityNumber.ERROR,
            "ERROR",
            "ValueError: no",
            attributes,
            "exception",
            provider.resource,
            logger.instrumentation_scope,  # type: ignore[attr-defined]
        )
        recorded = exporter.get_finished_logs()[-1]
        assert encode_logs([entry]).body == encode_logs([recorded]).body
        (message,) = logs_of(encode_logs([entry]))
        assert (message.event_name, message.severity_number) == ("exception", 17)
