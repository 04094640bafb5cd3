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

    from otel_distro.export.log_entry import LogEntry
    from otel_distro.export.pipeline import Pipeline
    from otel_distro.export.signal_queue import SignalQueue


_ASGI_MESSAGE = "asgi.event.type"
"""Attribute of the spans ``http send`` and ``http receive``, which tell nothing that the request's span does not."""


class QueueSpanProcessor(SpanProcessor):
    """Queues sampled spans when they end."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.counter = AtomicCounter()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count the span."""
        self.counter.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span unless the sampler dropped it, or it is one of ASGI's two for each message of a request."""
        context = span.context
        self.take(span, context.trace_flags if context is not None else 0, span.attributes or ())

    def take(self, span: ReadableSpan, flags: int, attributes: Container[str]) -> None:
        """Do the same for a span whose parts are known."""
        self.counter.end()
        if flags & TraceFlags.SAMPLED and _ASGI_MESSAGE not in attributes:
            self._pipeline.put("traces", span)

    def shutdown(self) -> None:
        """Deliver what waits. The pipeline itself lives until the process ends."""
        self._pipeline.flush(30, collect=False)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what waits; return whether all was taken within ``timeout_millis`` milliseconds."""
        return self._pipeline.flush(timeout_millis / 1000, collect=False)


class QueueLogRecordProcessor(LogRecordProcessor):
    """Queues log records when they are emitted, in each of these lanes of the pipeline."""

    def __init__(self, pipeline: Pipeline, queues: Sequence[str] = ("logs",)) -> None:
        self._pipeline = pipeline
        self._lanes = queues
        self.counter = AtomicCounter()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue a snapshot of the record; processors that run later may go on changing theirs."""
        self.counter.start()
        if log_record.resource is None:
            # The SDK's logger sets it before anybody sees the record.
            return
        record = copy.copy(log_record.log_record)
        # The context may hold anything alive, and nothing after this point reads it.
        record.context = Context()
        snapshot = ReadableLogRecord(
            log_record=record,
            resource=log_record.resource,
            instrumentation_scope=log_record.instrumentation_scope,
            limits=log_record.limits,
        )
        for queue in self._lanes:
            self._pipeline.put(queue, snapshot)

    def put(self, entry: LogEntry) -> None:
        """Queue a record that nobody else can see."""
        self.counter.start()
        for queue in self._lanes:
            self._pipeline.put(queue, entry)

    def shutdown(self) -> None:
        """Deliver what waits. The pipeline itself lives until the process ends."""
        self._pipeline.flush(30, collect=False)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what waits; return whether all was taken within ``timeout_millis`` milliseconds."""
        return self._pipeline.flush(timeout_millis / 1000, collect=False)


class QueueMetricReader(InMemoryMetricReader):
    """Collects when the pipeline's thread says so; it has no thread of its own."""

    def __init__(self, queue: SignalQueue, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lane = queue
        self.flush: Callable[[float], bool] = lambda _: False

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and deliver; return whether all was taken within ``timeout_millis`` milliseconds."""
        return self.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Collect and deliver a last time."""
        self.flush(timeout_millis / 1000)
