"""The fixture ``telemetry`` shows a test what it recorded, and nothing of other tests."""

from __future__ import annotations

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource

from otel_distro._otel import sdk
from otel_distro._otel.global_providers import replace_providers
from otel_distro.testing import Telemetry

# As modules of applications do it: when they are imported, before any provider is set.
TRACER = trace.get_tracer("shop")
ORDERS = metrics.get_meter("shop").create_counter("shop.orders")
LOGGER = sdk.get_logger("shop")


@pytest.mark.parametrize("round_", ["first", "second"])
def test_each_test_sees_its_own(telemetry: Telemetry, round_: str) -> None:
    """Tracers, counters and loggers made at import are heard in every test, and each test starts at nothing."""
    assert (list(telemetry.spans()), list(telemetry.logs()), telemetry.metrics()) == ([], [], {})

    with TRACER.start_as_current_span(round_):
        LOGGER.emit(body=round_)
    ORDERS.add(2, {"shop.channel": "web"})

    assert [span.name for span in telemetry.spans()] == [round_]
    assert [record.log_record.body for record in telemetry.logs()] == [round_]
    assert [(point.value, dict(point.attributes)) for point in telemetry.metric("shop.orders")] == [
        (2, {"shop.channel": "web"})
    ]


def test_unknown_metric_has_no_points(telemetry: Telemetry) -> None:
    """A metric that nobody recorded has no points."""
    assert list(telemetry.metric("shop.returns")) == []


def test_globals_are_put_back() -> None:
    """After the test the global providers are those from before: here none, and one can still be set."""
    before = (trace.get_tracer_provider(), metrics.get_meter_provider())
    recorded = Telemetry(Resource.get_empty())
    restore = replace_providers(*recorded.providers)
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == recorded.providers[:2]
    restore()

    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before
    with TRACER.start_as_current_span("after"):
        ORDERS.add(1)
        metrics.get_meter("later").create_counter("shop.late").add(1)
    assert list(recorded.spans()) == []
    assert recorded.metrics().keys() <= {"shop.orders"}
