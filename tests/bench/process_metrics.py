"""One collection of process and host metrics, beside one of constant values by the plain SDK.

    python -m tests.bench.process_metrics [--rounds 300]

Milliseconds of CPU, the median of rounds. The plain SDK collects as many points from a callback, so
a ratio of 2 means that reading the values costs as much as aggregating them. Reading is meant to
stay below 1 ms. Where upstream's system-metrics instrumentation is installed, it is measured too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_distro.instrumentation.process_metrics import ProcessMetricsInstrumentor
from tests.bench import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def cost(work: Callable[[], object]) -> float:
    """Return milliseconds of CPU of one call."""
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / 1e6


def points(reader: InMemoryMetricReader) -> int:
    """Collect and return the number of data points."""
    data = reader.get_metrics_data()
    return sum(
        len(metric.data.data_points)
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def constant(count: int) -> InMemoryMetricReader:
    """Return a reader of ``count`` points with constant values."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("bench")
    for number in range(count):
        meter.create_observable_gauge(f"bench.{number}", [lambda _: [Observation(1)]])
    return reader


def measure(rounds: int) -> Iterator[row.Row]:
    """Collect both in turns."""
    distro = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([distro], shutdown_on_exit=False))
    instrumentor = ProcessMetricsInstrumentor()
    instrumentor.instrument()
    source = instrumentor.__dict__["_source"]
    plain = constant(points(distro))

    def read() -> None:
        source._read_at = float("-inf")
        source.read()

    def collect() -> None:
        source._read_at = float("-inf")
        distro.get_metrics_data()

    costs = [(cost(read), cost(collect), cost(plain.get_metrics_data)) for _ in range(rounds)]
    upstream = [each for _, _, each in costs]
    yield row.row("reading the values", [each for each, _, _ in costs], upstream, "ms")
    yield row.row("collection", [each for _, each, _ in costs], upstream, "ms")
    try:
        from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
    except ImportError:
        return
    theirs = InMemoryMetricReader()
    SystemMetricsInstrumentor().instrument(meter_provider=MeterProvider([theirs], shutdown_on_exit=False))
    system = [(cost(collect), cost(theirs.get_metrics_data)) for _ in range(max(5, rounds // 10))]
    yield row.row("beside system-metrics", [each for each, _ in system], [each for _, each in system], "ms")


if __name__ == "__main__":
    row.main(__doc__, measure, 300)
