"""Attributes of a measurement are cleaned, and their series found, as the SDK does it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import _clean_attribute_value
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics._internal import _view_instrument_match, measurement
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_distro._upstream_metrics import quicken_attributes
from tests.unit.pristine import copy_of


class Word(str):
    """A text of a class of its own."""

    __slots__ = ()


class Colour(str, Enum):
    """A text that is an enumeration."""

    RED = "red"


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
def quickened() -> None:
    """The quick ways are there, once and again."""
    quicken_attributes()
    before = ours._clean_attribute_value
    quicken_attributes()
    assert ours._clean_attribute_value is before is not _clean_attribute_value


def with_types(value: Any) -> Any:
    """Tell 1, 1.0 and True apart, and lists from tuples."""
    if isinstance(value, dict):
        return [(with_types(key), with_types(each)) for key, each in value.items()]
    return (type(value), [with_types(each) for each in value] if isinstance(value, (list, tuple)) else value)


@given(st.one_of(mappings, values))
def test_cleaned_as_the_sdk_does_it(attributes: Any) -> None:
    """The same values of the same types in the same order, and never the application's own dictionary."""
    cleaned = ours._clean_attribute_value(attributes, None)
    assert with_types(cleaned) == with_types(_clean_attribute_value(attributes, None))
    assert cleaned is not attributes or not isinstance(attributes, dict)


@given(st.lists(mappings, max_size=6))
def test_series_are_told_apart_as_the_sdk_does_it(several: list[Any]) -> None:
    """At the first sight and at the second: what is equal and of another type is another series, the order counts for nothing."""
    cleaned = [_clean_attribute_value(attributes, None) for attributes in several]
    for attributes in (*cleaned, *cleaned, *(dict(reversed(attributes.items())) for attributes in cleaned)):
        assert series._hash_attributes(attributes) == slow_key(attributes)


def test_more_series_than_are_remembered() -> None:
    """Each number is counted where it belongs, also when an attribute has a new value every time."""
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
