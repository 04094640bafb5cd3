"""The fixture ``telemetry`` gives a test its own telemetry, and nothing of other tests."""

from __future__ import annotations

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource

from otel_distro._otel import sdk
from otel_distro._otel.global_providers import replace_providers
from otel_distro.testing import Telemetry

# Created at import, before any provider is set, as modules of applications do.
TRACER = trace.get_tracer("shop")
ORDERS = metrics.get_meter("shop").create_counter("shop.orders")
LOGGER = sdk.get_logger("shop")


@pytest.mark.parametrize("round_", ["first", "second"])
def test_fixture_starts_empty_in_every_test(telemetry: Telemetry, round_: str) -> None:
    """Tracers, counters and loggers that were created at import record in every test."""
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
    """A metric that was not recorded has no data points."""
    assert list(telemetry.metric("shop.returns")) == []


def test_global_providers_are_restored() -> None:
    """After the test the global providers are the previous ones, and can still be set."""
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
