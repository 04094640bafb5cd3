"""A pytest fixture that gives a test the telemetry of the code under test.

.. code-block:: python

    # conftest.py
    from otel_distro.testing import telemetry

    # test_orders.py
    from otel_distro.testing import Telemetry

    def test_order_is_counted(telemetry: Telemetry) -> None:
        place_order()
        assert [span.name for span in telemetry.spans()] == ["place order"]
        assert [point.value for point in telemetry.metric("shop.orders")] == [1]

Nothing is sent. Instrumentors are not installed: a test that needs one calls its ``instrument()``
and, at the end, ``uninstrument()``. This module imports the SDK and needs pytest.
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
    """Everything recorded since the start of the test. Every span is sampled."""

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
        """Return the ended spans, in the order in which they ended.

        A request ends when its response is closed: ``with client.get("/orders"): ...``, or when the
        response is freed.
        """
        _drain_deferred()
        return self._spans.get_finished_spans()

    def logs(self) -> Sequence[ReadableLogRecord]:
        """Return log records and events, in the order in which they were emitted."""
        _drain_deferred()
        return self._logs.get_finished_logs()

    def metrics(self) -> dict[str, Metric]:
        """Collect the metrics.

        Returns:
            Name -> metric, for every metric that has data points.
        """
        data = self._metrics.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def metric(self, name: str) -> Sequence[Any]:
        """Collect the metrics and return the data points of one.

        Args:
            name: Name of the metric, such as ``shop.orders``.

        Returns:
            One data point of the SDK for each set of attributes, with ``value`` (or ``sum``,
            ``count`` and ``bucket_counts`` for histograms) and ``attributes``. Empty if nothing was
            recorded.
        """
        found = self.metrics().get(name)
        return () if found is None else found.data.data_points


def _drain_deferred() -> None:
    """Do what finalizers have left to the background thread."""
    if "otel_distro.errors.deferred" in sys.modules:
        sys.modules["otel_distro.errors.deferred"].drain()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Install providers with in-memory exporters as the global ones until the test ends."""
    recorded = Telemetry(Resource.get_empty())
    restore = replace_providers(*recorded.providers)
    yield recorded
    if "otel_distro.errors.deferred" in sys.modules:
        # Otherwise deferred reports of exceptions would be recorded in the next test.
        sys.modules["otel_distro.errors.deferred"].flush()
    restore()
    for provider in recorded.providers:
        provider.shutdown()
