"""The SDK's side of the pipeline: a span processor, a log record processor and a metric reader."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import TraceFlags

from otel_distro._otel.sdk import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from otel_distro.export.self_metrics import AtomicCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from otel_distro.export.log_entry import EventEntry, LogEntry
    from otel_distro.export.pipeline import Pipeline


_SAMPLED = int(TraceFlags.SAMPLED)
_ASGI_MESSAGE = "asgi.event.type"
"""Attribute of the spans ``http send`` and ``http receive``, which repeat the request's span."""


class QueueSpanProcessor(SpanProcessor):
    """Queues sampled spans when they end."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._put = pipeline.put
        self.counter = AtomicCounter()

    def span_started(self) -> None:
        """Count a span: the same as :meth:`on_start`."""
        self.counter.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count the span."""
        self.counter.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span unless it is unsampled, or one of ASGI for a message of a request."""
        context = span.context
        self.queue_span(span, context.trace_flags if context is not None else 0, span.attributes or ())

    def queue_span(self, span: ReadableSpan, flags: int, attributes: Container[str]) -> None:
        """Do the same as :meth:`on_end` for a span whose fields have been read already."""
        self.counter.end()
        if flags & _SAMPLED and _ASGI_MESSAGE not in attributes:
            self._put("traces", span)

    def shutdown(self) -> None:
        """Deliver what is queued. The pipeline itself lives until the process ends."""
        self._pipeline.flush(30, collect=False)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what is queued.

        Returns:
            Whether everything was delivered within ``timeout_millis`` milliseconds.
        """
        return self._pipeline.flush(timeout_millis / 1000, collect=False)


class QueueLogRecordProcessor(LogRecordProcessor):
    """Queues log records when they are emitted, in each of the given queues of the pipeline."""

    def __init__(self, pipeline: Pipeline, queues: Sequence[str] = ("logs",)) -> None:
        self._pipeline = pipeline
        self._queues = queues
        self.counter = AtomicCounter()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a copy of the record, because later processors may change it."""
        self.counter.start()
        if log_record.resource is None:
            # Only for the type checker: the SDK's logger has set it.
            return
        record = copy.copy(log_record.log_record)
        # The context may keep large objects alive, and nothing reads it from here on.
        record.context = Context()
        snapshot = ReadableLogRecord(
            log_record=record,
            resource=log_record.resource,
            instrumentation_scope=log_record.instrumentation_scope,
            limits=log_record.limits,
        )
        for queue in self._queues:
            self._pipeline.put(queue, snapshot)

    def put(self, entry: LogEntry | EventEntry) -> None:
        """Queue an entry that no other processor sees."""
        self.counter.start()
        for queue in self._queues:
            self._pipeline.put(queue, entry)

    def shutdown(self) -> None:
        """Deliver what is queued. The pipeline itself lives until the process ends."""
        self._pipeline.flush(30, collect=False)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what is queued.

        Returns:
            Whether everything was delivered within ``timeout_millis`` milliseconds.
        """
        return self._pipeline.flush(timeout_millis / 1000, collect=False)


class QueueMetricReader(InMemoryMetricReader):
    """A metric reader without a thread: the pipeline's collector collects for it.

    Args:
        flush: Collects and delivers within the given seconds; returns whether that succeeded.
        **kwargs: Arguments of the SDK's ``MetricReader``.
    """

    def __init__(self, flush: Callable[[float], bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._flush = flush

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and deliver.

        Returns:
            Whether everything was delivered within ``timeout_millis`` milliseconds.
        """
        return self._flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Collect and deliver a last time."""
        self._flush(timeout_millis / 1000)
