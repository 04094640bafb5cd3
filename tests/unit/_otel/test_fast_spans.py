"""The fast path of spans gives what the SDK gives, part by part."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags

from otel_distro._otel.patch import sdk_release
from otel_distro._otel.safe_api import install_safe_api
from otel_distro.export.encode.request import encode_spans
from otel_distro.export.processors import QueueSpanProcessor
from tests.support.messages import spans_of

install_safe_api(QueueSpanProcessor)


class Pipeline:
    """Stands where the pipeline stands and keeps what is put."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def put(self, signal: str, item: Any) -> None:
        assert signal == "traces"
        self.spans.append(item)


class Kept(SpanProcessor):
    """A processor of the application's."""

    def __init__(self) -> None:
        self.started: list[tuple[Span, Context | None]] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.started.append((span, parent_context))
        span.set_attribute("at.start", True)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class Fixture:
    """A provider as our configurator makes it, with our processor."""

    def __init__(self, **kwargs: Any) -> None:
        self.pipeline = Pipeline()
        pipeline: Any = self.pipeline
        self.processor = QueueSpanProcessor(pipeline)
        self.provider = TracerProvider(
            resource=Resource({"service.name": "shop"}),
            meter_provider=NoOpMeterProvider(),
            shutdown_on_exit=False,
            **kwargs,
        )
        self.provider.add_span_processor(self.processor)
        self.tracer: Any = self.provider.get_tracer("shop", "1.0")


@pytest.fixture
def ours() -> Fixture:
    """Everything by default."""
    return Fixture()


def the_sdks(function: Any) -> Any:
    """Return the SDK's own function under its wrappers."""
    return inspect.unwrap(function)


def parts(value: Any) -> Any:
    """Return what can be compared of a part of a span."""
    if isinstance(value, BoundedAttributes):
        return [(key, type(member), member) for key, member in value.items()], *_settings(value), value._immutable
    if isinstance(value, BoundedList):
        return list(value), value.dropped, vars(value)["_dq"].maxlen
    if isinstance(value, type(threading.Lock())):
        return "lock", value.locked()
    if isinstance(value, SpanContext):
        return value.is_remote, value.trace_flags, type(value.trace_flags), value.trace_state, value.is_valid
    return value if not isinstance(value, trace.Status) else (value.status_code, value.description)


def _settings(value: BoundedAttributes) -> tuple[Any, ...]:
    return value.maxlen, value.dropped, value.max_value_len


def dissected(span: Any) -> dict[str, Any]:
    return {name: parts(value) for name, value in vars(span).items() if name not in ("_start_time", "_end_time")}


SAMPLERS = [
    sampling.DEFAULT_ON,
    sampling.ALWAYS_ON,
    sampling.ALWAYS_OFF,
    sampling.DEFAULT_OFF,
    sampling.ParentBasedTraceIdRatio(1.0),
    sampling.ParentBased(sampling.ALWAYS_ON, local_parent_sampled=sampling.ALWAYS_OFF),
]
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"attributes": {"a": "b", "n": 1, "x": 1.5, "t": True, "none": None, "raw": b"r"}},
    {"attributes": {"list": [1, 2], "map": {"a": [1]}, "object": object}},
    {"attributes": {"": 1, 5: 2, "ok": 3}},
    {"attributes": {f"key {i}": i for i in range(200)}},
    {"attributes": BoundedAttributes(attributes={"a": 1})},
    {"kind": SpanKind.SERVER, "start_time": 17, "record_exception": False, "set_status_on_exception": False},
    {"links": [Link(SpanContext(1, 2, True), {"a": 1})]},
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.get_description()[:40])
@pytest.mark.parametrize("limits", [None, SpanLimits(max_span_attributes=2, max_events=0, max_span_attribute_length=3)])
def test_span_on_fast_path_equals_the_sdks(sampler: sampling.Sampler, limits: SpanLimits | None) -> None:
    """Roots, children, children of remote and of unsampled spans: every field is the SDK's."""
    ours = Fixture(sampler=sampler, span_limits=limits)
    start = the_sdks(type(ours.tracer).start_span)
    remote = trace.NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(1), trace.TraceState([("a", "b")])))
    unsampled = trace.NonRecordingSpan(SpanContext(7, 8, False, TraceFlags(0)))
    local = Fixture().tracer.start_span("local", trace.set_span_in_context(remote))
    parents: list[Any] = [Context(), *map(trace.set_span_in_context, (remote, unsampled, local, trace.INVALID_SPAN))]
    for parent in parents:
        for given in ARGUMENTS:
            quick, slow = ours.tracer.start_span("x", parent, **given), start(ours.tracer, "x", parent, **given)
            assert type(quick) is type(slow)
            assert dissected(quick) == dissected(slow)
            if isinstance(quick, Span):
                assert list(vars(quick)["_attributes"]) == list(vars(slow)["_attributes"])
            context = quick.get_span_context()
            if parent is not parents[0] and parent is not parents[-1]:
                assert context.trace_id == trace.get_current_span(parent).get_span_context().trace_id
            assert context.span_id != slow.get_span_context().span_id


def test_span_times_default_to_now(ours: Fixture) -> None:
    """Without a given time, start and end are the current time."""
    span = ours.tracer.start_span("x")
    span.end()
    later = ours.tracer.start_span("x", start_time=5)
    later.end(7)
    assert 0 < span.start_time <= span.end_time
    assert (later.start_time, later.end_time) == (5, 7)


def test_span_after_its_end_does_not_change(ours: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    """The first end counts; later calls log the SDK's warnings and change nothing."""
    span = ours.tracer.start_span("x", attributes={"a": 1})
    span.set_attribute("b", "c")
    span.end(9)
    before = encode_spans(ours.pipeline.spans).body
    span.end(10)
    span.set_attribute("a", 2)
    span.set_attributes({"a": 3})
    span.add_event("late")
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    assert len(caplog.records) == 6
    assert encode_spans(ours.pipeline.spans).body == before
    assert len(ours.pipeline.spans) == 1
    assert (ours.processor.counter.started, ours.processor.counter.live) == (1, 0)
    with pytest.raises(TypeError, match="immutable" if sdk_release() >= (1, 45) else "^$"):
        vars(span)["_attributes"]["a"] = 4


def test_set_attribute_on_fast_path_equals_the_sdks(ours: Fixture) -> None:
    """Order, limit, cleaning and bad keys are the SDK's."""
    limited = Fixture(span_limits=SpanLimits(max_span_attributes=3))
    pairs = [("a", 1), ("b", "x"), ("a", 2), ("c", [1, "y"]), ("d", None), ("", 1), (5, 1), ("e", object), ("b", 1.5)]
    for fixture in (ours, limited):
        quick, slow = fixture.tracer.start_span("x"), fixture.tracer.start_span("x")
        for key, value in pairs:
            quick.set_attribute(key, value)
            the_sdks(Span.set_attribute)(slow, key, value)
        assert list(quick.attributes.items()) == list(slow.attributes.items())
        assert quick.dropped_attributes == slow.dropped_attributes


def test_processor_of_application_gets_span_and_copy() -> None:
    """It gets the span at its start with the parent's context, and a copy of its own at the end."""
    ours, kept = Fixture(), Kept()
    ours.provider.add_span_processor(kept)
    context = Context({"a": "b"})
    span = ours.tracer.start_span("x", context)
    span.end()
    assert kept.started == [(span, context)]
    (ended,) = kept.ended
    assert type(ended) is ReadableSpan
    assert ended.attributes == {"at.start": True}
    assert len(ours.pipeline.spans) == 1


def test_sampler_and_generator_of_application_are_used() -> None:
    """Every span has what the application's sampler and id generator return."""

    class Sampler(sampling.Sampler):
        def should_sample(self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any) -> Any:
            wanted = sampling.Decision.DROP if name == "dropped" else sampling.Decision.RECORD_AND_SAMPLE
            return sampling.SamplingResult(wanted, {"asked": trace_id})

        def get_description(self) -> str:
            return "mine"

    class Ids:
        def generate_trace_id(self) -> int:
            return 77

        def generate_span_id(self) -> int:
            return 88

        def is_trace_id_random(self) -> bool:
            return False

    generated: Any = Ids()
    ours = Fixture(sampler=Sampler(), id_generator=generated)
    ours.tracer.start_span("x").end()
    ours.tracer.start_span("dropped").end()
    (message,) = spans_of(encode_spans(ours.pipeline.spans))
    assert (message.trace_id, message.span_id) == (b"\0" * 15 + b"M", b"\0" * 7 + b"X")
    assert message.attributes[0].value.int_value == 77
    by_generator = Fixture(id_generator=generated)
    assert by_generator.tracer.start_span("x").get_span_context().span_id == 88


def test_asgi_messages_and_dropped_spans_are_not_queued(ours: Fixture) -> None:
    """The two spans for each message of a request are dropped, unsampled spans too."""
    ours.tracer.start_span("http send", attributes={"asgi.event.type": "http.response.start"}).end()
    assert ours.pipeline.spans == []
    assert ours.processor.counter.live == 0


@pytest.fixture
def exported() -> tuple[Any, InMemorySpanExporter]:
    """A tracer whose spans come to an exporter."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(meter_provider=NoOpMeterProvider(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("shop"), exporter


def test_current_span_in_block_is_restored_after(exported: tuple[Any, InMemorySpanExporter]) -> None:
    """Within the block the span is current; after it the context is the one before."""
    tracer, exporter = exported
    before = trace.get_current_span()
    with tracer.start_as_current_span("outer") as outer:
        assert trace.get_current_span() is outer
        with tracer.start_as_current_span("inner", end_on_exit=False) as inner:
            assert trace.get_current_span() is inner
        assert trace.get_current_span() is outer
        assert inner.is_recording()
        inner.end()
    assert trace.get_current_span() is before
    first, second = exporter.get_finished_spans()
    assert (first.name, second.name) == ("inner", "outer")
    assert first.parent == second.context


@pytest.mark.parametrize("records", [True, False])
def test_exception_in_block_is_recorded_and_passes(records: bool, exported: tuple[Any, InMemorySpanExporter]) -> None:
    """An exception passes unchanged and is on the span, unless switched off; exits are not."""
    tracer, exporter = exported
    error = ValueError("no luck")
    arguments = {} if records else {"record_exception": False, "set_status_on_exception": False}
    with pytest.raises(ValueError, match="no luck") as caught, tracer.start_as_current_span("x", **arguments):
        raise error
    with pytest.raises(KeyboardInterrupt), tracer.start_as_current_span("interrupted"):
        raise KeyboardInterrupt
    assert caught.value is error
    failed, interrupted = exporter.get_finished_spans()
    assert [event.name for event in failed.events] == (["exception"] if records else [])
    assert failed.status.description == ("ValueError: no luck" if records else None)
    assert not interrupted.events
    assert interrupted.status.status_code is StatusCode.UNSET
    if records:
        attributes: Mapping[str, Any] = failed.events[0].attributes or {}
        assert attributes["exception.message"] == "no luck"
        assert "raise error" in attributes["exception.stacktrace"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("hostile")


def test_exception_without_text_passes_and_span_ends(
    exported: tuple[Any, InMemorySpanExporter], swallowed: list[str]
) -> None:
    """The exception passes, and the span ends."""
    tracer, exporter = exported
    with pytest.raises(Unprintable), tracer.start_as_current_span("x"):
        raise Unprintable
    assert len(exporter.get_finished_spans()) == 1
    swallowed.clear()


def test_decorated_function_has_a_span_per_call(exported: tuple[Any, InMemorySpanExporter]) -> None:
    """Each call has a span of its own; that of a coroutine lasts as long as it runs."""
    tracer, exporter = exported

    def plain(value: int) -> int:
        """Documented."""
        return value + (trace.get_current_span().is_recording())

    async def waiting() -> bool:
        await asyncio.sleep(0)
        return trace.get_current_span().is_recording()

    async def both() -> list[bool]:
        return list(await asyncio.gather(waiting(), waiting()))

    plain = tracer.start_as_current_span("plain")(plain)
    waiting = tracer.start_as_current_span("waiting")(waiting)
    assert (plain(1), plain(2), plain.__doc__) == (2, 3, "Documented.")
    assert asyncio.run(both()) == [True, True]
    assert inspect.iscoroutinefunction(waiting)
    assert [span.name for span in exporter.get_finished_spans()] == ["plain", "plain", "waiting", "waiting"]


def test_processor_that_raises_keeps_the_span(swallowed: list[str]) -> None:
    """The application gets its span."""

    class Raising(Kept):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            raise RuntimeError("broken")

    ours = Fixture()
    ours.provider.add_span_processor(Raising())
    ours.tracer.start_span("x").end()
    assert len(ours.pipeline.spans) == 1
    assert "broken" in swallowed.pop()


def test_hostile_arguments_give_a_usable_span(ours: Fixture, swallowed: list[str]) -> None:
    """Any value as an argument gives an object that can be used as a span."""
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    hostile: list[dict[str, Any]] = [{"attributes": {"x": value}} for value in (Unprintable(), deep)]
    wrong: list[dict[str, Any]] = [{name: 5} for name in ("attributes", "links", "context", "kind")]
    for given in (*wrong, {"start_time": "x"}, *hostile):
        span = ours.tracer.start_span("x", **given)
        span.set_attribute("a", 1)
        span.end()
    assert isinstance(ours.tracer.start_span(5), trace.Span)
    swallowed.clear()
