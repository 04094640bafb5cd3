"""The fast path of measurements gives what the SDK gives."""

from __future__ import annotations

import random
from enum import Enum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics._internal import _view_instrument_match, measurement
from opentelemetry.sdk.metrics._internal.metric_reader_storage import MetricReaderStorage
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import TracerProvider

from otel_distro._otel.metric_patches import FAST_MEASUREMENTS
from otel_distro._otel.patch import sdk_release

if sdk_release() < FAST_MEASUREMENTS.since:
    pytest.skip("the patch is off on this release, by its `since`", allow_module_level=True)

from opentelemetry.attributes import _clean_attribute_value

from otel_distro._otel.fast_measurements import SampledSpanExemplarFilter, install_fast_measurements
from tests.support.pristine import copy_of


class Word(str):
    """A text of a class of its own."""

    __slots__ = ()


class Colour(str, Enum):
    """A text that is an enumeration."""

    RED = "red"


SPAN = TracerProvider(shutdown_on_exit=False).get_tracer("app").start_span("at work")
slow_key = copy_of(_view_instrument_match.__name__)._hash_attributes
ours: Any = measurement
series: Any = _view_instrument_match
plain = st.one_of(
    st.sampled_from([0, 1, 0.0, 1.0, True, False, None, "", "1", b"", b"1", Colour.RED, Word("w"), object]),
    st.text(max_size=3),
    st.integers(),
    st.floats(allow_nan=False),
)
values = st.recursive(plain, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(st.text(max_size=2), deeper))
mappings = st.dictionaries(
    st.one_of(st.text(max_size=3), st.sampled_from([1, True, None, Word("w")])), values, max_size=5
)


@pytest.fixture(autouse=True)
def installed() -> None:
    """The fast paths are installed; a second call changes nothing."""
    install_fast_measurements()
    before = ours._clean_attribute_value
    install_fast_measurements()
    assert ours._clean_attribute_value is before is not _clean_attribute_value


def with_types(value: Any) -> Any:
    """Return a value that differs for 1, 1.0 and True, and for lists and tuples."""
    if isinstance(value, dict):
        return [(with_types(key), with_types(each)) for key, each in value.items()]
    return (type(value), [with_types(each) for each in value] if isinstance(value, (list, tuple)) else value)


@given(st.one_of(mappings, values))
def test_attributes_cleaned_equal_the_sdks(attributes: Any) -> None:
    """Same values, types and order, and never the application's own dictionary."""
    cleaned = ours._clean_attribute_value(attributes, None)
    assert with_types(cleaned) == with_types(_clean_attribute_value(attributes, None))
    assert cleaned is not attributes or not isinstance(attributes, dict)


@given(st.lists(mappings, max_size=6))
def test_series_key_equals_the_sdks(several: list[Any]) -> None:
    """On first and later lookups: equal values of other types differ, the order does not matter."""
    cleaned = [_clean_attribute_value(attributes, None) for attributes in several]
    for attributes in (*cleaned, *cleaned, *(dict(reversed(attributes.items())) for attributes in cleaned)):
        assert series._hash_attributes(attributes) == slow_key(attributes)


def test_measurement_with_many_series_is_counted_in_its_own() -> None:
    """Each number goes to its series, also if an attribute has a new value every time."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    def observe(_: CallbackOptions) -> list[Observation]:
        return [Observation(7, {"kind": "observed"})]

    counter = provider.get_meter("app").create_counter("counter")
    provider.get_meter("app").create_observable_gauge("gauge", [observe])
    attributes = {"number": 0}
    for number in (*range(1500), *range(1500)):
        attributes["number"] = number
        counter.add(number, attributes)
    data: Any = reader.get_metrics_data()
    found = {metric.name: metric.data.data_points for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert {point.attributes["number"]: point.value for point in found["counter"]} == {n: 2 * n for n in range(1500)}
    assert [(point.attributes, point.value) for point in found["gauge"]] == [({"kind": "observed"}, 7)]


COUNTED = st.dictionaries(
    st.sampled_from("abc"), st.one_of(st.integers(0, 2), st.booleans(), st.sampled_from(["x", "y"]))
)
AMOUNTS = st.one_of(st.integers(-3, 20), st.floats(width=16), st.sampled_from([float("nan"), True, 10**30]))
INSTRUMENTS = ("counter", "up_down_counter", "histogram")
CALLS = st.lists(st.tuples(st.sampled_from(INSTRUMENTS), AMOUNTS, st.none() | COUNTED, st.booleans()), max_size=20)


@settings(max_examples=50)
@given(CALLS)
def test_measurements_on_fast_path_equal_the_sdks(calls: list[tuple[str, Any, Any, bool]]) -> None:
    """With views that drop attributes or rename, two readers and exemplars: the same points."""
    quick = points_of(calls, SampledSpanExemplarFilter())
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (measurement.Measurement, "__init__"),
            (MetricReaderStorage, "consume_measurement"),
        ):
            patch.setattr(owner, name, vars(owner)[name].__wrapped__)
        assert quick == points_of(calls, TraceBasedExemplarFilter())


def points_of(calls: list[tuple[str, Any, Any, bool]], exemplars: TraceBasedExemplarFilter) -> list[Any]:
    """Record in a sampled span and outside; return the points of two readers without times."""
    random.seed(0)
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    views = [
        View(instrument_name="counter", attribute_keys={"a"}),
        View(instrument_name="histogram", name="other"),
        View(instrument_name="histogram"),
    ]
    provider = MeterProvider(readers, views=views, shutdown_on_exit=False, exemplar_filter=exemplars)
    meter = provider.get_meter("app")
    record: dict[str, Any] = {
        "counter": meter.create_counter("counter").add,
        "up_down_counter": meter.create_up_down_counter("up_down_counter").add,
        "histogram": meter.create_histogram("histogram").record,
    }
    for name, amount, attributes, in_span in calls:
        record[name](amount, attributes, trace.set_span_in_context(SPAN if in_span else trace.INVALID_SPAN))
    return [
        (metric.name, metric.data.__class__, point_of(point))
        for reader in readers
        for resource in getattr(reader.get_metrics_data(), "resource_metrics", ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def point_of(point: Any) -> Any:
    """Return a point without its times."""
    rest = {name: value for name, value in vars(point).items() if "time" not in name and name != "exemplars"}
    exemplars = [(each.filtered_attributes, each.value, each.span_id, each.trace_id) for each in point.exemplars]
    return repr((rest, exemplars))


def test_measurement_with_attributes_of_another_type_is_counted() -> None:
    """Attributes that are not a mapping are logged by the SDK, and the number is recorded."""
    reader = InMemoryMetricReader()
    counter = MeterProvider([reader], shutdown_on_exit=False).get_meter("app").create_counter("counter")
    wrong: Any = [("a", 1)]
    counter.add(1, wrong)
    counter.add(2, None)
    counter.add(3, MappingProxyType({"a": 1}))
    data: Any = reader.get_metrics_data()
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert [(dict(point.attributes), point.value) for point in points] == [({}, 3), ({"a": 1}, 3)]
