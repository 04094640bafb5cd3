"""A hostile item is brought into a sane form or dropped alone; its neighbours arrive as if it had not been there."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
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
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from otel_distro.export.encode import Encoded, encode_logs, encode_metrics, encode_spans
from tests.unit.export.hostile import HOSTILE, LyingText

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

RESOURCE = Resource({"service.name": "shop"})
SCOPE = InstrumentationScope("shop")
CONTEXT = SpanContext(1, 2, False)
GOOD: dict[str, Any] = {"fixed": "good", "number": 1, "flag": True}

# By title: a test runner looks at parameters, and that is what these do not bear.
each = pytest.mark.parametrize("title", HOSTILE)


def span(name: Any = "good", **kwargs: Any) -> ReadableSpan:
    usual: dict[str, Any] = {
        "context": CONTEXT,
        "resource": RESOURCE,
        "instrumentation_scope": SCOPE,
        "attributes": GOOD,
    }
    return ReadableSpan(name, **usual | kwargs)


def log(body: Any = "good", **kwargs: Any) -> ReadableLogRecord:
    record = LogRecord(timestamp=1, observed_timestamp=2, body=body, attributes=GOOD)
    for name, value in kwargs.items():
        setattr(record, name, value)
    return ReadableLogRecord(record, RESOURCE, SCOPE)


def spans_of(encoded: Encoded) -> list[SpanMessage]:
    request = ExportTraceServiceRequest.FromString(encoded.body)
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def logs_of(encoded: Encoded) -> list[LogMessage]:
    request = ExportLogsServiceRequest.FromString(encoded.body)
    return [
        record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records
    ]


def points_of(encoded: Encoded) -> list[Any]:
    request = ExportMetricsServiceRequest.FromString(encoded.body)
    metrics = [
        metric for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    return [point for metric in metrics for point in getattr(metric, metric.WhichOneof("data") or "gauge").data_points]


def never_raising(encode: Callable[[Any], Encoded], items: Any) -> Encoded:
    """Encode, and say where it raised: the test runner would end when it looks at what is in the frames."""
    try:
        return encode(items)
    except BaseException as error:
        kind = type(error).__name__
        places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    pytest.fail(f"raised {kind} at {places[1:]}", pytrace=False)


def between(encode: Callable[[Any], Encoded], decode: Callable[[Encoded], list[Any]], good: Any, bad: Any) -> list[Any]:
    """Encode ``bad`` between good items and return what became of it: one message, or none and it is counted."""
    expected = decode(encode([good]))[0]
    encoded = never_raising(encode, [good, good, bad, good])
    assert len(encoded.body) < 5_000_000
    messages = decode(encoded)
    assert encoded.count == len(messages)
    assert encoded.count + sum(encoded.dropped.values()) == 4
    assert [*messages[:2], messages[-1]] == [expected] * 3
    return messages[2:-1]


def value_of(message: Any, key: str = "x") -> AnyValue:
    found: AnyValue = next(pair.value for pair in message.attributes if pair.key == key)
    return found


@each
def test_attribute(title: str) -> None:
    """A hostile value of an attribute costs at most the attribute, and that is counted; the others stay."""
    value = HOSTILE[title]
    (message,) = between(encode_spans, spans_of, span(), span(attributes={"before": 1, "x": value, "after": 2}))
    assert {pair.key for pair in message.attributes} >= {"before", "after"}
    assert len(message.attributes) + message.dropped_attributes_count == 3


@each
def test_event_and_link(title: str) -> None:
    """A hostile value in an event or a link costs at most itself; the span and its other events arrive."""
    value = HOSTILE[title]
    events = [Event("one", {"a": 1}, 1), Event("two", {"x": value}, 2), Event("three", {"b": 2}, 3)]
    links = [Link(CONTEXT, {"x": value}), Link(CONTEXT, {"a": 1})]
    (message,) = between(encode_spans, spans_of, span(), span(events=events, links=links))
    assert len(message.events) + message.dropped_events_count == 3
    assert len(message.links) + message.dropped_links_count == 2


@each
def test_names_and_texts(title: str) -> None:
    """Anything in place of a name becomes a text."""
    value = HOSTILE[title]
    bad = span(value, events=[Event(value, {}, 1)], status=Status(StatusCode.ERROR, "x"))
    bad.status._description = value
    (message,) = between(encode_spans, spans_of, span(), bad)
    assert len(message.name) <= 64 * 1024


@each
def test_every_field_of_a_span(title: str) -> None:
    """Anything in place of any part of a span costs at most the span, and never another one."""
    value = HOSTILE[title]
    for field in ("context", "parent", "attributes", "events", "links", "kind", "status", "start_time", "end_time"):
        between(encode_spans, spans_of, span(), span(**{field: value}))
    items = [span(), span(resource=value), span(instrumentation_scope=value), span()]
    encoded = never_raising(encode_spans, items)
    assert len(spans_of(encoded)) == encoded.count == 4


@each
def test_body_and_attribute_of_a_log_record(title: str) -> None:
    """A record with a hostile body or attribute arrives."""
    value = HOSTILE[title]
    (message,) = between(encode_logs, logs_of, log(), log(value))
    assert message.HasField("body")
    (message,) = between(encode_logs, logs_of, log(), log(attributes={"before": 1, "x": value, "after": 2}))
    assert len(message.attributes) + message.dropped_attributes_count == 3


@each
def test_every_field_of_a_log_record(title: str) -> None:
    """Anything in place of any part of a log record costs at most the record, and never another one."""
    value = HOSTILE[title]
    for field in vars(log().log_record):
        between(encode_logs, logs_of, log(), log(**{field: value}))


def metrics(metric: Metric) -> MetricsData:
    good = Metric("good", "", "", Sum([NumberDataPoint(GOOD, 1, 2, 3)], AggregationTemporality.CUMULATIVE, True))
    return MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(SCOPE, [good, metric, good], "")], "")])


@each
def test_metrics(title: str) -> None:
    """Anything in place of any part of a metric costs at most that metric or point."""
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


# Recipes: hypothesis, too, looks at what it has drawn.
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
def test_anything_anywhere(parts: list[Any]) -> None:
    """Whatever an item is made of, what is written can be decoded and the neighbours are in it."""
    values = made(parts)
    fields = ("parent", "attributes", "events", "links", "kind", "status", "start_time", "end_time")
    between(encode_spans, spans_of, span(), span(values[8], **dict(zip(fields, values, strict=False))))
    between(
        encode_logs,
        logs_of,
        log(),
        log(values, attributes={"x": values}, severity_text=values[0], event_name=values[1]),
    )


def test_sane_forms() -> None:
    """What becomes of what OTLP cannot say."""
    forms = {
        "lone surrogate": "\ufffd lone",
        "raising str": "s",
        "str enum": "yes",
        "raising object": "<RaisingObject>",
        "decimal": "1E+999999",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "enum": "<Color>",
        "complex": "<complex>",
        "time of nowhere": "<datetime>",
        "exiting mapping": "<RaisingMapping>",
    }
    for title, text in forms.items():
        assert value_of(spans_of(encode_spans([span(attributes={"x": HOSTILE[title]})]))[0]).string_value == text, title
    numbers = {
        "int of 70 bits": (1 << 63) - 1,
        "negative int of 70 bits": -(1 << 63),
        "raising int": 7,
        "int enum": 1,
    }
    for title, number in numbers.items():
        assert value_of(spans_of(encode_spans([span(attributes={"x": HOSTILE[title]})]))[0]).int_value == number, title


def test_texts_are_cut_between_characters() -> None:
    """Texts end at 64 KiB of UTF-8, bodies at 256 KiB, and never within a character."""
    long = "a" + "\u20ac" * 200_000
    message = spans_of(encode_spans([span(long, attributes={"x": long, "y": "b" * 70_000})]))[0]
    assert value_of(message).string_value == long[: 1 + (65536 - 1) // 3]
    assert value_of(message, "y").string_value == "b" * 65536
    assert message.name == long[: 1 + (65536 - 1) // 3]
    assert logs_of(encode_logs([log("b" * 300_000)]))[0].body.string_value == "b" * 262_144


def test_what_does_not_fit_is_counted() -> None:
    """An item has 10,000 values and 1 MiB of texts; attributes and events beyond are in its dropped counts."""
    many = {f"key {i}": i for i in range(15_000)}
    message = spans_of(encode_spans([span(attributes=many)]))[0]
    assert (len(message.attributes), message.dropped_attributes_count) == (10_000, 5_000)
    message = spans_of(encode_spans([span(attributes={}, events=[Event("e", {"i": i}, 1) for i in range(15_000)])]))[0]
    assert len(message.events) + message.dropped_events_count == 15_000
    assert message.dropped_events_count > 0
    message = spans_of(encode_spans([span(attributes={f"key {i}": "x" * 50_000 for i in range(100)})]))[0]
    assert sum(len(pair.value.string_value) for pair in message.attributes) == 1024 * 1024


def test_times_are_brought_into_range() -> None:
    """Times before the epoch, beyond 64 bits, of other types or missing never cost the span."""
    for start, end, expected in (
        (-1, 1 << 70, (0, (1 << 64) - 1)),
        (None, "x", (0, 0)),
        (1.5e18, float("nan"), (15 * 10**17, 0)),
    ):
        message = spans_of(encode_spans([span(start_time=start, end_time=end)]))[0]
        assert (message.start_time_unix_nano, message.end_time_unix_nano) == expected


def test_span_without_identifiers_is_counted() -> None:
    """A span that has no identifiers is dropped, with the reason."""
    for context in (None, SpanContext(1 << 130, 2, False), SpanContext(-1, 2, False)):
        assert encode_spans([span(), span(context=context), span()]).count == 2
        assert encode_spans([span(context=context)]).dropped == {"invalid_ids": 1}
    assert logs_of(encode_logs([log(trace_id=-5, span_id="x")]))[0].body.string_value == "good"


def test_deepest_container_can_be_decoded() -> None:
    """Containers are cut where decoders would give up on the whole request."""
    value: Any = "bottom"
    for _ in range(200):
        value = {"k": value}
    message = spans_of(encode_spans([span(events=[Event("e", {"x": value}, 1)])]))[0]
    found = value_of(message.events[0])
    depth = 0
    while found.HasField("kvlist_value"):
        found = found.kvlist_value.values[0].value
        depth += 1
    assert (depth, found.string_value) == (30, "...")


class Redacted(ReadableSpan):
    @property
    def attributes(self) -> Any:
        return {"password": "***"}


class Raising(ReadableSpan):
    @property
    def attributes(self) -> Any:
        raise RuntimeError("hostile property")


def test_derived_spans_are_read_through_their_properties() -> None:
    """What a class derived from the SDK's gives out counts, not what it holds; a property that raises costs its span."""
    derived: dict[str, Any] = {"context": CONTEXT, "resource": RESOURCE, "attributes": {"password": "secret"}}
    encoded = encode_spans([span(), Redacted("redacted", **derived), Raising("raising", **derived), span()])
    assert encoded.dropped == {"unencodable": 1}
    redacted = next(message for message in spans_of(encoded) if message.name == "redacted")
    assert value_of(redacted, "password").string_value == "***"
    assert b"secret" not in encoded.body


def test_a_lie_is_not_remembered() -> None:
    """A text that is equal to everything neither answers for others nor gets another's bytes."""
    lie = LyingText("true")
    for attributes in ({"x": lie}, {lie: "x"}, {lie: lie}):
        encode_spans([span(lie, attributes=attributes)])
    message = spans_of(encode_spans([span("good", attributes={"x": "good", "good": "good"})]))[0]
    assert message.name == value_of(message).string_value == value_of(message, "good").string_value == "good"
    assert value_of(spans_of(encode_spans([span(attributes={"x": lie})]))[0]).string_value == "true"


def test_attributes_changed_meanwhile() -> None:
    """Attributes that another thread changes during encoding cost nothing."""
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
            assert [message.dropped_attributes_count for message in spans_of(encoded)] == [0, 0, 0]
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_at_the_end_of_the_stack() -> None:
    """A caller so deep in its calls that nothing more fits loses no items: they are encoded in a thread."""
    items = [span(attributes={"x": [[["deep"]]]})] * 5
    expected = encode_spans(items)

    def dive(frames: int) -> Encoded:
        return dive(frames - 1) if frames else encode_spans(items)

    depth = 0
    frame: Any = sys._getframe()
    while frame is not None:
        depth += 1
        frame = frame.f_back
    assert dive(sys.getrecursionlimit() - depth - 10) == expected


def test_interrupts_pass() -> None:
    """What a signal's handler raises in the main thread, such as the exit of a server, is not swallowed."""

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


def test_exits_of_items_do_not_pass() -> None:
    """A span whose properties want to end the program or the thread costs itself, in every thread."""
    items = [span(), Exiting("exiting", context=CONTEXT, resource=RESOURCE), span()]
    results = [encode_spans(items)]
    thread = threading.Thread(target=lambda: results.append(encode_spans(items)))
    thread.start()
    thread.join()
    assert [(encoded.count, encoded.dropped) for encoded in results] == [(2, {"unencodable": 1})] * 2


def test_nothing_to_encode() -> None:
    """Nothing gives nothing."""
    for encoded in (encode_spans([]), encode_logs([]), encode_metrics(MetricsData([]))):
        assert encoded == Encoded(b"", 0, {})
