"""Spans started and ended without the steps of the SDK that the common span does not need.

Everything else takes the SDK's way: links, samplers and id generators of other kinds, parents that
are not spans of this process, values that have to be cleaned, limits that are reached, processors
of the application. The spans are the SDK's, made of the same parts; a test compares them part by
part. The queue holds the ended span itself, not a copy.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import Span, SynchronousMultiSpanProcessor, Tracer
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Span as AnySpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_distro._otel import patches
from otel_distro._otel.fast_measurements import PLAIN, is_clean, verify_plain
from otel_distro._otel.sdk import SDK_SPAN, SPAN_KEY
from otel_distro._runtime.diagnostics import guard, text_of

try:
    from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics, noop
except ImportError:  # the patches that need them are off
    NoOpTracerMetrics = noop = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol

    from otel_distro._otel.needs import Samples

    class SpanQueue(Protocol):
        """A processor that gets the ended spans themselves."""

        def queue_span(self, span: Any, flags: int, attributes: dict[str, Any], /) -> None:
            """Queue a span that has ended."""


_UNSET = Status(StatusCode.UNSET)
_NO_STATE = TraceState.get_default()
_SAMPLED, _SAMPLED_RANDOM = TraceFlags(1), TraceFlags(3)
_NOTHING = object()
_new: Callable[[Any], Any] = object.__new__
_put = dict.__setitem__


def install_fast_path(
    start: Callable[..., Any], end: Callable[..., Any], set_attribute: Callable[..., Any], queue_type: type[SpanQueue]
) -> None:
    """Put the short ways in front of ``start_span``, ``end`` and ``set_attribute`` of the SDK.

    Args:
        start: What ``Tracer.start_span`` is now; likewise ``end`` and ``set_attribute``.
        end: See ``start``.
        set_attribute: See ``start``.
        queue_type: Class of the one processor that gets an ended span without a copy.
    """
    patches.FAST_SPAN_START.install(_replace, Tracer, "start_span", _start_span(start))
    patches.FAST_CURRENT_SPAN.install(_replace, Tracer, "start_as_current_span", _start_as_current_span)
    patches.FAST_SPAN_END.install(_replace, Span, "end", _end(end, queue_type))
    patches.FAST_SET_ATTRIBUTE.install(_replace, Span, "set_attribute", _set_attribute(set_attribute))


def _replace(owner: Any, name: str, fast: Any) -> None:
    setattr(owner, name, functools.wraps(getattr(owner, name))(fast))


def verify(found: Samples) -> None:
    """Raise ``ValueError`` if a span built here has other fields than the SDK's own."""
    verify_plain(found)
    tracer = found.tracer
    before = tracer._tracer_metrics
    tracer._tracer_metrics = NoOpTracerMetrics()
    try:
        built = _span(tracer, None, {"probe": 1})
    finally:
        tracer._tracer_metrics = before
    expected, fields = vars(found.span).keys(), vars(built).keys() | _SET_BY_CALLER
    if expected != fields:
        raise ValueError(f"spans have other fields: {', '.join(sorted(expected ^ fields))}")


_SET_BY_CALLER = {"_name", "_kind", "_record_exception", "_set_status_on_exception", "_start_time"}


def _start_span(slow: Callable[..., Any]) -> Callable[..., Any]:
    def start_span(
        tracer: Any,
        name: Any,
        context: Any = None,
        kind: Any = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Any = (),
        start_time: Any = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Any:
        span = None
        if not links and type(name) is str and (attributes is None or type(attributes) is dict):
            around = get_current() if context is None else context
            if type(around) is Context:
                try:
                    span = _span(tracer, around.get(SPAN_KEY), attributes)
                except (Exception, SystemExit):
                    # A hostile attribute: the SDK's way makes the span without it.
                    span = None
        if span is None:
            return slow(
                tracer, name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
        span._name = name
        span._kind = kind
        span._record_exception = record_exception
        span._set_status_on_exception = set_status_on_exception
        span._start_time = time.time_ns() if start_time is None else start_time
        with guard("a span processor's on_start"):
            tracer.span_processor.on_start(span, parent_context=context)
        return span

    return start_span


def _span(tracer: Any, parent_span: Any, attributes: Any) -> Any:
    """Return a span without the fields that the caller sets, None where the SDK has to make it."""
    ids = tracer.id_generator
    if not tracer._tracer_config.is_enabled or type(ids) is not RandomIdGenerator:
        return None
    if type(tracer._tracer_metrics) is not NoOpTracerMetrics:
        return None
    always_root, always_child = always_samples(tracer.sampler)
    limits = tracer._span_limits
    if parent_span is None and always_root:
        parent = None
        context = (ids.generate_trace_id(), ids.generate_span_id(), False, _SAMPLED_RANDOM, _NO_STATE, True)
    elif type(parent_span) is SDK_SPAN and always_child:
        parent = parent_span._context
        if type(parent) is not SpanContext or not parent[5] or parent[2] or not parent[3] & 1:
            return None
        flags = _SAMPLED_RANDOM if parent[3] & 2 else _SAMPLED
        context = (parent[0], ids.generate_span_id(), False, flags, parent[4], True)
    else:
        return None
    span = _new(SDK_SPAN)
    span._context = tuple.__new__(SpanContext, context)
    span._parent = parent
    span._instrumentation_info = tracer.instrumentation_info
    span._instrumentation_scope = tracer._instrumentation_scope
    span._end_time = None
    span._resource = tracer.resource
    span._status = _UNSET
    span._sampler = tracer.sampler
    span._trace_config = None
    span._span_processor = tracer.span_processor
    span._limits = limits
    span._lock = threading.Lock()
    span._attributes = _attributes(attributes, limits.max_span_attributes, limits.max_span_attribute_length)
    span._events = BoundedList(limits.max_events)
    span._links = BoundedList(limits.max_links)
    span._record_end_metrics = noop
    return span


def always_samples(sampler: Any) -> tuple[bool, bool]:
    """Return whether the sampler samples every root, and every child of a sampled span."""
    known = _samplers.get(id(sampler))
    if known is not None and known[0] is sampler:
        return known[1]
    from opentelemetry.sdk.trace import sampling as s

    def always(inner: Any) -> bool:
        return type(inner) in (s.StaticSampler, s._AlwaysOn) and inner._decision is s.Decision.RECORD_AND_SAMPLE

    if type(sampler) in (s.ParentBased, s.ParentBasedTraceIdRatio, s._ParentBasedAlwaysOn, s._ParentBasedAlwaysOff):
        found = (always(sampler._root), always(sampler._local_parent_sampled))
    else:
        found = (always(sampler), always(sampler))
    if len(_samplers) > 100:
        _samplers.clear()
    _samplers[id(sampler)] = (sampler, found)
    return found


_samplers: dict[int, tuple[Any, tuple[bool, bool]]] = {}
"""Classified samplers by ``id()``; an entry holds its sampler, so that the id is not reused."""


def _attributes(given: Any, most: int | None, longest: int | None) -> BoundedAttributes:
    if longest is not None:
        return BoundedAttributes(most, given, False, longest)
    bounded = BoundedAttributes(most, None, immutable=False)
    if given:
        # One step of the interpreter: another thread may be writing.
        copied = given.copy()
        if (most is None or len(copied) <= most) and is_clean(copied):
            bounded._dict = copied
        else:
            bounded._set_items(copied)
    return bounded


def _end(slow: Callable[..., Any], queue_type: type[SpanQueue]) -> Callable[..., Any]:
    def end(span: Any, end_time: Any = None) -> None:
        queue = _only_queue(span._span_processor, queue_type) if type(span) is SDK_SPAN else None
        if queue is None or span._record_end_metrics is not noop:
            slow(span, end_time)
            return
        with span._lock:
            is_first = span._end_time is None and span._start_time is not None
            if is_first:
                span._end_time = time.time_ns() if end_time is None else end_time
                span._attributes._immutable = True
        if is_first:
            queue.queue_span(span, span._context[3], span._attributes._dict)
        else:
            slow(span, end_time)

    return end


def _only_queue(processor: Any, queue_type: type[SpanQueue]) -> SpanQueue | None:
    """Return the queue if there is no other processor, which would get a copy of the span."""
    if type(processor) is not SynchronousMultiSpanProcessor:
        return None
    processors: Any = processor._span_processors
    return processors[0] if len(processors) == 1 and type(processors[0]) is queue_type else None


def _set_attribute(slow: Callable[..., Any]) -> Callable[..., Any]:
    def set_attribute(span: Any, key: Any, value: Any) -> None:
        if type(value) in PLAIN and type(key) is str and key and type(span) is SDK_SPAN:
            attributes: Any = span._attributes
            if attributes._dict.get(key, _NOTHING) is value and span._end_time is None:
                # Instrumentations set again the attributes that they started the span with.
                return
            if attributes.max_value_len is None:
                with span._lock, attributes._lock:
                    found = attributes._dict
                    if span._end_time is None and (attributes.maxlen is None or len(found) < attributes.maxlen):
                        # The newest attribute comes last, as with the SDK.
                        found.pop(key, None)
                        found[key] = value
                        return
        slow(span, key, value)

    return set_attribute


def _start_as_current_span(
    tracer: Any,
    name: Any,
    context: Any = None,
    kind: Any = SpanKind.INTERNAL,
    attributes: Any = None,
    links: Any = (),
    start_time: Any = None,
    record_exception: bool = True,
    set_status_on_exception: bool = True,
    end_on_exit: bool = True,
) -> _Current:
    # By name, as the SDK does it: a wrapper of `start_span` may look for them there.
    arguments = {
        "name": name,
        "context": context,
        "kind": kind,
        "attributes": attributes,
        "links": links,
        "start_time": start_time,
        "record_exception": record_exception,
        "set_status_on_exception": set_status_on_exception,
    }
    return _Current(tracer, arguments, end_on_exit)


class _Current:
    """Starts a span and makes it current, around a block, a function or a coroutine function."""

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_token", "_tracer")

    def __init__(self, tracer: Any, arguments: dict[str, Any], end_on_exit: bool) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._end_on_exit = end_on_exit

    def __enter__(self) -> Any:
        span = self._span = self._tracer.start_span(**self._arguments)
        context = Context(get_current())
        _put(context, SPAN_KEY, span)
        self._token = attach(context)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach(self._token)
        span = self._span
        if isinstance(error, Exception) and isinstance(span, AnySpan):
            with guard("recording an exception on a span"):
                self._record(span, error)
        if self._end_on_exit:
            span.end()

    def _record(self, span: AnySpan, error: Exception) -> None:
        if not span.is_recording():
            return
        if self._arguments["record_exception"]:
            span.record_exception(error)
        if self._arguments["set_status_on_exception"]:
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}"))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a span around each call."""
        tracer, arguments, end_on_exit = self._tracer, self._arguments, self._end_on_exit
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with _Current(tracer, arguments, end_on_exit):
                    return await function(*args, **kwargs)

            return call_async

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with _Current(tracer, arguments, end_on_exit):
                return function(*args, **kwargs)

        return call
