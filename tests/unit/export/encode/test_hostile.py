"""A hostile item is adjusted or dropped alone; the items beside it arrive unchanged."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status, StatusCode

from otel_distro.export.encode.request import Encoded, encode_logs, encode_metrics, encode_spans
from tests.support.hostile import HOSTILE, LyingText
from tests.support.messages import (
    CONTEXT,
    GOOD,
    RESOURCE,
    SCOPE,
    between,
    log,
    logs_of,
    never_raising,
    points_of,
    span,
    spans_of,
    value_of,
)

# By title: pytest inspects parameters, which these values do not survive.
each = pytest.mark.parametrize("title", HOSTILE)


@each
def test_span_with_hostile_attribute_loses_at_most_that_attribute(title: str) -> None:
    """A hostile attribute value drops at most this attribute, and that is counted."""
    value = HOSTILE[title]
    (message,) = between(encode_spans, spans_of, span(), span(attributes={"before": 1, "x": value, "after": 2}))
    assert {pair.key for pair in message.attributes} >= {"before", "after"}
    assert len(message.attributes) + message.dropped_attributes_count == 3


@each
def test_span_with_hostile_event_or_link_keeps_the_others(title: str) -> None:
    """A hostile value in an event or a link drops at most that one.

    The span and its others arrive.
    """
    value = HOSTILE[title]
    events = [Event("one", {"a": 1}, 1), Event("two", {"x": value}, 2), Event("three", {"b": 2}, 3)]
    links = [Link(CONTEXT, {"x": value}), Link(CONTEXT, {"a": 1})]
    (message,) = between(encode_spans, spans_of, span(), span(events=events, links=links))
    assert len(message.events) + message.dropped_events_count == 3
    assert len(message.links) + message.dropped_links_count == 2


@each
def test_hostile_name_becomes_text(title: str) -> None:
    """Any object in place of a name becomes a text."""
    value = HOSTILE[title]
    bad = span(value, events=[Event(value, {}, 1)], status=Status(StatusCode.ERROR, "x"))
    bad.status._description = value
    (message,) = between(encode_spans, spans_of, span(), bad)
    assert len(message.name) <= 4096


@each
def test_span_with_hostile_field_is_dropped_alone(title: str) -> None:
    """Any object in place of a field drops at most this span, and never another one."""
    value = HOSTILE[title]
    for field in ("context", "parent", "attributes", "events", "links", "kind", "status", "start_time", "end_time"):
        between(encode_spans, spans_of, span(), span(**{field: value}))
    items = [span(), span(resource=value), span(instrumentation_scope=value), span()]
    encoded = never_raising(encode_spans, items)
    assert len(spans_of(encoded)) == encoded.count == 4


@each
def test_log_record_with_hostile_body_or_attribute_arrives(title: str) -> None:
    """A record with a hostile body or attribute arrives."""
    value = HOSTILE[title]
    (message,) = between(encode_logs, logs_of, log(), log(value))
    assert message.HasField("body")
    (message,) = between(encode_logs, logs_of, log(), log(attributes={"before": 1, "x": value, "after": 2}))
    assert len(message.attributes) + message.dropped_attributes_count == 3


@each
def test_log_record_with_hostile_field_is_dropped_alone(title: str) -> None:
    """Any object in place of a field drops at most this record, and never another one."""
    value = HOSTILE[title]
    for field in vars(log().log_record):
        between(encode_logs, logs_of, log(), log(**{field: value}))


def metrics(metric: Metric) -> MetricsData:
    good = Metric("good", "", "", Sum([NumberDataPoint(GOOD, 1, 2, 3)], AggregationTemporality.CUMULATIVE, True))
    return MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(SCOPE, [good, metric, good], "")], "")])


@each
def test_metric_with_hostile_field_is_dropped_alone(title: str) -> None:
    """Any object in place of a field drops at most this metric or point."""
    value = HOSTILE[title]
    points = [
        NumberDataPoint(GOOD, 1, 2, 3),
        NumberDataPoint({"x": value}, 1, 2, 3),
        NumberDataPoint(GOOD, 1, 2, value),
    ]
    points.append(NumberDataPoint(GOOD, value, value, 1, value))
    histogram = HistogramDataPoint(GOOD, 1, 2, value, value, value, value, value, value)
    odd = [
        Metric(value, value, value, Gauge(points)),
        Metric("m", "", "", Sum(points, value, value)),
        Metric("m", "", "", Histogram([histogram], AggregationTemporality.DELTA)),
        Metric("m", "", "", Histogram(value, AggregationTemporality.DELTA)),
        Metric("m", "", "", value),
        value,
    ]
    for metric in odd:
        encoded = never_raising(encode_metrics, metrics(metric))
        found = points_of(encoded)
        assert len(found) == encoded.count
        assert sum(point.as_int == 3 and len(point.attributes) == 3 for point in found if hasattr(point, "as_int")) >= 2


# Recipes instead of values: hypothesis inspects what it has drawn.
recipes = st.recursive(
    st.tuples(st.just("hostile"), st.sampled_from(list(HOSTILE)))
    | st.tuples(st.just("plain"), st.text(st.characters(), max_size=5) | st.integers() | st.floats() | st.none()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


def made(recipe: Any) -> Any:
    if isinstance(recipe, list):
        return [made(part) for part in recipe]
    if isinstance(recipe, dict):
        return {key: made(part) for key, part in recipe.items()}
    return HOSTILE[recipe[1]] if recipe[0] == "hostile" else recipe[1]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(recipes, min_size=9, max_size=9))
def test_item_of_random_parts_does_not_affect_its_neighbours(parts: list[Any]) -> None:
    """For an item of random parts the request can be decoded and holds the neighbours."""
    values = made(parts)
    fields = ("parent", "attributes", "events", "links", "kind", "status", "start_time", "end_time")
    between(encode_spans, spans_of, span(), span(values[8], **dict(zip(fields, values, strict=False))))
    between(
        encode_logs,
        logs_of,
        log(),
        log(values, attributes={"x": values}, severity_text=values[0], event_name=values[1]),
    )


class Redacted(ReadableSpan):
    @property
    def attributes(self) -> Any:
        return {"password": "***"}


class Raising(ReadableSpan):
    @property
    def attributes(self) -> Any:
        raise RuntimeError("hostile property")


def test_span_subclass_is_read_through_its_properties() -> None:
    """The properties of a subclass count, not its fields; a property that raises drops its span."""
    derived: dict[str, Any] = {"context": CONTEXT, "resource": RESOURCE, "attributes": {"password": "secret"}}
    encoded = encode_spans([span(), Redacted("redacted", **derived), Raising("raising", **derived), span()])
    assert encoded.dropped == {"unencodable": 1}
    redacted = next(message for message in spans_of(encoded) if message.name == "redacted")
    assert value_of(redacted, "password").string_value == "***"
    assert b"secret" not in encoded.body


def test_text_that_equals_everything_is_not_cached() -> None:
    """A text that is equal to every other neither replaces the bytes of another nor gets them."""
    lie = LyingText("true")
    for attributes in ({"x": lie}, {lie: "x"}, {lie: lie}):
        encode_spans([span(lie, attributes=attributes)])
    message = spans_of(encode_spans([span("good", attributes={"x": "good", "good": "good"})]))[0]
    assert message.name == value_of(message).string_value == value_of(message, "good").string_value == "good"
    assert value_of(spans_of(encode_spans([span(attributes={"x": lie})]))[0]).string_value == "true"


def test_attributes_changed_during_encoding_drop_no_item() -> None:
    """Attributes that another thread changes meanwhile drop no item, and only themselves."""
    growing: dict[str, Any] = {"x": 1}
    nested: dict[str, Any] = {"inner": growing}
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            growing[f"key {number % 500}"] = number
            growing.pop(f"key {(number + 250) % 500}", None)
            number += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(300):
            encoded = encode_spans([span(attributes=growing), span(attributes=nested), span()])
            left_out = [message.dropped_attributes_count for message in spans_of(encoded)]
            assert len(left_out) == 3
            assert max(left_out) <= 1
            assert left_out[2] == 0
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_caller_near_recursion_limit_encodes_in_a_thread() -> None:
    """A caller near the recursion limit drops no items: they are encoded in a new thread."""
    items = [span(attributes={"x": [[["deep"]]]})] * 5
    expected = encode_spans(items)

    def dive(frames: int) -> Encoded:
        return dive(frames - 1) if frames else encode_spans(items)

    def work() -> None:
        # In a new thread the depth is known, whatever the depth of pytest is.
        depth = 0
        frame: Any = sys._getframe()
        while frame is not None:
            depth += 1
            frame = frame.f_back
        results.append(dive(sys.getrecursionlimit() - depth - 10))

    results: list[Encoded] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [expected]


def test_exception_of_signal_handler_is_not_swallowed() -> None:
    """An exception of a signal handler, such as SystemExit, passes through the encoder."""

    def leave(*args: Any) -> None:
        raise SystemExit

    items = [span(attributes=GOOD | {"i": [i] * 50}) for i in range(512)]
    before = signal.signal(signal.SIGVTALRM, leave)
    try:
        for _ in range(5):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
            with pytest.raises(SystemExit):
                for _ in range(100):
                    encode_spans(items)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Exiting(ReadableSpan):
    @property
    def attributes(self) -> Any:
        raise SystemExit


def test_item_that_raises_system_exit_is_dropped_alone() -> None:
    """A span whose property raises SystemExit is dropped alone, in every thread."""
    items = [span(), Exiting("exiting", context=CONTEXT, resource=RESOURCE), span()]
    results = [encode_spans(items)]
    thread = threading.Thread(target=lambda: results.append(encode_spans(items)))
    thread.start()
    thread.join()
    assert [(encoded.count, encoded.dropped) for encoded in results] == [(2, {"unencodable": 1})] * 2


def test_empty_batch_is_an_empty_request() -> None:
    """An empty batch is an empty body."""
    for encoded in (encode_spans([]), encode_logs([]), encode_metrics(MetricsData([]))):
        assert encoded == Encoded(b"", 0, {})
