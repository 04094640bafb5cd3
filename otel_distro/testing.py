"""A pytest fixture that shows a test which telemetry the code under test makes.

.. code-block:: python

    from otel_distro.testing import Telemetry, telemetry  # in conftest.py; the name of the fixture is `telemetry`

    def test_order_is_counted(telemetry: Telemetry) -> None:
        place_order()
        assert [span.name for span in telemetry.spans()] == ["place order"]
        assert [point.value for point in telemetry.metric("shop.orders")] == [1]

Nothing is sent. Instrumentors are not started: a test that wants one calls its ``instrument()`` and, at the end,
``uninstrument()``. This is the one public module that imports the SDK, and it needs pytest.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_distro._otel import sdk
from otel_distro._otel.global_providers import replace_providers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_distro._otel.sdk import ReadableLogRecord

__all__ = ["Telemetry", "telemetry"]


class Telemetry:
    """What was recorded since the test began. Every span is sampled."""

    def __init__(self, resource: Resource) -> None:
        self._spans = InMemorySpanExporter()
        self._logs = sdk.InMemoryLogRecordExporter()
        self._metrics = InMemoryMetricReader()
        tracer = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        tracer.add_span_processor(SimpleSpanProcessor(self._spans))
        logger = sdk.LoggerProvider(resource, shutdown_on_exit=False)
        logger.add_log_record_processor(sdk.SimpleLogRecordProcessor(self._logs))
        meter = MeterProvider([self._metrics], resource, shutdown_on_exit=False)
        self.providers = (tracer, meter, logger)
        """The SDK's providers of traces, metrics and logs."""

    def spans(self) -> Sequence[ReadableSpan]:
        """Return the spans that have ended, in the order of their ends."""
        return self._spans.get_finished_spans()

    def logs(self) -> Sequence[ReadableLogRecord]:
        """Return the log records and events, in the order they were emitted."""
        return self._logs.get_finished_logs()

    def metrics(self) -> dict[str, Metric]:
        """Collect now and return every metric that has points, by name."""
        data = self._metrics.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def metric(self, name: str) -> Sequence[Any]:
        """Collect now and return the data points of metric ``name``: one for each set of attributes, none if unknown."""
        found = self.metrics().get(name)
        return () if found is None else found.data.data_points


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Providers of the SDK with exporters in memory, the global ones until the test ends."""
    recorded = Telemetry(Resource.get_empty())
    restore = replace_providers(*recorded.providers)
    yield recorded
    if "otel_distro.errors.deferred" in sys.modules:
        # Exceptions that wait to be told would be told to the next test.
        sys.modules["otel_distro.errors.deferred"].end()
    restore()
    for provider in recorded.providers:
        provider.shutdown()
