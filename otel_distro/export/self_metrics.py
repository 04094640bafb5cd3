"""Metrics of the export path about itself, named by the semantic conventions (``otel.sdk.*``).

Source: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.metrics import Observation

from otel_distro import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, Meter

_EXPORTER = {
    "traces": "otlp_{}_span_exporter",
    "metrics": "otlp_{}_metric_exporter",
    "logs": "otlp_{}_log_exporter",
}
_PROCESSOR = {"traces": "batching_span_processor", "logs": "batching_log_processor"}


class AtomicCounter:
    """Counts starts and ends exactly, in a few nanoseconds.

    The SDK's counters cost more than a span. The steps of an ``itertools.count`` are atomic, and
    its ``repr`` shows the next number without advancing it.
    """

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Start at zero again."""
        self._started = itertools.count()
        self._ended = itertools.count()
        self.start: Callable[[], int] = self._started.__next__
        self.end: Callable[[], int] = self._ended.__next__

    @property
    def started(self) -> int:
        """How many were started."""
        return _next_of(self._started)

    @property
    def live(self) -> int:
        """How many were started and have not ended."""
        return self.started - _next_of(self._ended)


def _next_of(count: itertools.count[int]) -> int:
    return int(repr(count)[len("count(") : -1])


def report_span_and_log_counters(meter: Meter, spans: AtomicCounter, logs: AtomicCounter) -> None:
    """Report both counters at every collection."""
    sampled = {schema.SAMPLING_RESULT.name: "RECORD_AND_SAMPLE"}

    def observe(read: Callable[[], int], attributes: dict[str, str]) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda _: [Observation(read(), attributes)]

    for metric, create, read, attributes in (
        (schema.SDK_SPAN_STARTED, meter.create_observable_counter, lambda: spans.started, sampled),
        (schema.SDK_SPAN_LIVE, meter.create_observable_up_down_counter, lambda: spans.live, sampled),
        (schema.SDK_LOG_CREATED, meter.create_observable_counter, lambda: logs.started, {}),
    ):
        create(metric.name, [observe(read, attributes)], metric.unit, metric.brief)


class ExporterMetrics:
    """The metrics of one signal's queue and exporter. With ``meter=None`` nothing is counted.

    Args:
        signal: The name of the signal.
        meter: Creates the instruments.
        url: Where the signal is sent.
        capacity: The capacity of the queue.
        grpc: Whether it is sent over gRPC, otherwise over HTTP.
    """

    def __init__(self, signal: str, meter: Meter | None, url: str, capacity: int, *, grpc: bool = False) -> None:
        parts = urlsplit(url)
        self._meter = meter
        self._signal = signal
        kind = _EXPORTER[signal].format("grpc" if grpc else "http")
        self._exporter: dict[str, str | int] = {
            schema.COMPONENT_TYPE.name: kind,
            schema.COMPONENT_NAME.name: f"{kind}/0",
            schema.SERVER_ADDRESS.name: parts.hostname or "",
            schema.SERVER_PORT.name: parts.port or (443 if parts.scheme == "https" else 80),
        }
        if meter is None:
            return
        exported, inflight = schema.SDK_EXPORTED[signal], schema.SDK_INFLIGHT[signal]
        self._exported = meter.create_counter(exported.name, exported.unit, exported.brief)
        self._inflight = meter.create_up_down_counter(inflight.name, inflight.unit, inflight.brief)
        duration = schema.SDK_EXPORT_DURATION
        self._duration = meter.create_histogram(duration.name, duration.unit, duration.brief)
        if signal in _PROCESSOR:
            kind = _PROCESSOR[signal]
            self._processor: dict[str, str | int] = {
                schema.COMPONENT_TYPE.name: kind,
                schema.COMPONENT_NAME.name: f"{kind}/0",
            }
            processed, limit = schema.SDK_PROCESSED[signal], schema.SDK_QUEUE_CAPACITY[signal]
            self._processed = meter.create_counter(processed.name, processed.unit, processed.brief)
            meter.create_observable_up_down_counter(
                limit.name, [lambda _: (Observation(capacity, self._processor),)], limit.unit, limit.brief
            )

    def watch_queue(self, size: Callable[[], int]) -> None:
        """Report ``size()`` as the length of the queue at every collection."""
        if self._meter is None or self._signal not in _PROCESSOR:
            return

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return (Observation(size(), self._processor),)

        queue = schema.SDK_QUEUE_SIZE[self._signal]
        self._meter.create_observable_up_down_counter(queue.name, [observe], queue.unit, queue.brief)

    def processed(self, count: int) -> None:
        """Count items that left the queue for the spool."""
        if self._meter is not None and self._signal in _PROCESSOR:
            self._processed.add(count, self._processor)

    def dropped(self, count: int, error_type: str) -> None:
        """Count items that were dropped before they were spooled."""
        if self._meter is not None and self._signal in _PROCESSOR:
            self._processed.add(count, {**self._processor, schema.ERROR_TYPE.name: error_type})

    def exported(self, count: int, error_type: str = "") -> None:
        """Count items whose export ended: accepted, or lost with an ``error.type``."""
        if self._meter is not None and count:
            self._exported.add(
                count, {**self._exporter, schema.ERROR_TYPE.name: error_type} if error_type else self._exporter
            )

    @contextmanager
    def sending(self, count: int) -> Iterator[None]:
        """Time one request, and count its items as in flight during it."""
        if self._meter is None:
            yield
            return
        self._inflight.add(count, self._exporter)
        start = time.perf_counter()
        try:
            yield
        finally:
            self._inflight.add(-count, self._exporter)
            self._duration.record(time.perf_counter() - start, self._exporter)
