"""Print the processor time of one collection of process and host metrics: ours, and upstream's where it is installed.

    python tests/bench/process_metrics.py [CYCLES]

Ours may take at most 1 ms to read; the exit status is 1 where it takes more. What the SDK needs to aggregate the points is
the same for everybody's.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_distro.instrumentation.process_metrics import ProcessMetricsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1.0


def median(work: Callable[[], object], cycles: int) -> float:
    """Return milliseconds of processor time: the median, which other programs of the machine disturb least."""
    times = []
    for _ in range(cycles):
        start = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - start) / 1e6)
    return statistics.median(times)


def points(reader: InMemoryMetricReader) -> int:
    """Collect and return the number of data points."""
    data = reader.get_metrics_data()
    return sum(
        len(metric.data.data_points)
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def main() -> int:
    """Measure and print."""
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    ours = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([ours]))
    instrumentor = ProcessMetricsInstrumentor()
    instrumentor.instrument()
    source = instrumentor.__dict__["_source"]

    def read() -> None:
        source._read_at = float("-inf")
        source.read()

    def collect() -> None:
        source._read_at = float("-inf")
        ours.get_metrics_data()

    reading = median(read, cycles)
    print(f"process_metrics: {reading:.2f} ms to read, {median(collect, cycles):.2f} ms with the SDK's", end=" ")
    print(f"collection of {points(ours)} points")
    try:
        from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
    except ImportError:
        print("opentelemetry-instrumentation-system-metrics is not installed here")
    else:
        theirs = InMemoryMetricReader()
        SystemMetricsInstrumentor().instrument(meter_provider=MeterProvider([theirs]))
        upstream = median(theirs.get_metrics_data, max(5, cycles // 10))
        print(f"upstream's system-metrics: {upstream:.2f} ms with the SDK's collection of {points(theirs)} points")
    return int(reading > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
