"""Spans started and ended without the steps of the SDK that the common span does not need.

Everything else takes the SDK's way: links, samplers and id generators of other kinds, parents that
are not spans of this process, values that have to be cleaned, limits that are reached, processors
of the application. The spans are the SDK's, made of the same parts; a test compares them part by
part. The queue holds the ended span itself, not a copy.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SynchronousMultiSpanProcessor, Tracer
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from otel_distro._otel import current_span, patches, span_events, span_parts
from otel_distro._otel.fast_measurements import PLAIN, is_clean, verify_plain
from otel_distro._otel.sdk import SDK_SPAN, SPAN_KEY
from otel_distro._otel.span_parts import UNSET, LazyAttributes, LazyList
from otel_distro._runtime.diagnostics import guard

try:
    from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics, noop
except ImportError:  # the patches that need them are off
    NoOpTracerMetrics = noop = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from otel_distro._otel.needs import Samples

    class SpanQueue(Protocol):
        """A processor that gets the ended spans themselves."""

        def span_started(self) -> object:
            """Count a span that has started; the same as ``on_start``."""

        def queue_span(self, span: Any, flags: int, attributes: dict[str, Any], /) -> None:
            """Queue a span that has ended."""


_NO_STATE = TraceState.get_default()
_SAMPLED, _SAMPLED_RANDOM = TraceFlags(1), TraceFlags(3)
_NOTHING = object()
_new: Callable[[Any], Any] = object.__new__
_new_tuple: Callable[..., Any] = tuple.__new__


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
    queues = _Queues(queue_type)
    patches.FAST_SPAN_START.install(_replace, Tracer, "start_span", _start_span(start, queues))
    current_span.install()
    span_events.install()
    patches.FAST_SPAN_END.install(_replace, Span, "end", _end(end, queues))
    patches.FAST_SET_ATTRIBUTE.install(_replace, Span, "set_attribute", _set_attribute(set_attribute))


def _replace(owner: Any, name: str, fast: Any) -> None:
    setattr(owner, name, functools.wraps(getattr(owner, name))(fast))


def verify(found: Samples) -> None:
    """Raise ``ValueError`` if a span built here has other fields than the SDK's own."""
    verify_plain(found)
    span_parts.verify()
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


class _Queues:
    """Finds the queue of a provider that has no other processor, which would get copies."""

    __slots__ = ("known", "queue_type")

    def __init__(self, queue_type: type[SpanQueue]) -> None:
        self.queue_type = queue_type
        self.known: tuple[Any, SpanQueue | None] = ((), None)

    def of(self, processor: Any) -> SpanQueue | None:
        """Return the queue behind the ``span_processor`` of a tracer or a span, or None."""
        if type(processor) is not SynchronousMultiSpanProcessor:
            return None
        processors: Any = processor._span_processors
        known, queue = self.known
        if processors is not known:
            queue = processors[0] if len(processors) == 1 and type(processors[0]) is self.queue_type else None
            self.known = (processors, queue)
        return queue


def _start_span(slow: Callable[..., Any], queues: _Queues) -> Callable[..., Any]:
    calls, queue_of = current_span.calls, queues.of

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
            around = calls.get() if context is None else context
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
        queue = queue_of(span._span_processor)
        if queue is not None:
            queue.span_started()
        else:
            with guard("a span processor's on_start"):
                tracer.span_processor.on_start(span, parent_context=context)
        return span

    return start_span


class _Template:
    """Facts that all spans of a tracer share, as long as the tracer holds the same objects."""

    __slots__ = (
        "children",
        "ids",
        "lazy",
        "limits",
        "metrics",
        "most",
        "most_events",
        "most_links",
        "roots",
        "sampler",
    )

    def __init__(self, tracer: Any) -> None:
        self.sampler = tracer.sampler
        self.ids = tracer.id_generator
        self.metrics = tracer._tracer_metrics
        self.limits = tracer._span_limits
        usable = type(self.ids) is RandomIdGenerator and type(self.metrics) is NoOpTracerMetrics
        always_root, always_child = always_samples(self.sampler) if usable else (False, False)
        self.roots = always_root
        """Whether a root can be made without the SDK; likewise :attr:`children`."""
        self.children = always_child
        self.most, longest = self.limits.max_span_attributes, self.limits.max_span_attribute_length
        self.lazy = longest is None and self.most != 0
        """Whether attributes of plain types stay as they are."""
        self.most_events, self.most_links = self.limits.max_events, self.limits.max_links


def _span(tracer: Any, parent_span: Any, attributes: Any) -> Any:
    """Return a span without the fields that the caller sets, None where the SDK has to make it."""
    try:
        template = tracer.otel_distro_template
    except AttributeError:
        template = tracer.otel_distro_template = _Template(tracer)
    ids, limits = tracer.id_generator, tracer._span_limits
    if (
        template.sampler is not tracer.sampler
        or template.ids is not ids
        or template.limits is not limits
        or template.metrics is not tracer._tracer_metrics
    ):
        template = tracer.otel_distro_template = _Template(tracer)
    if not tracer._tracer_config.is_enabled:
        return None
    if parent_span is None and template.roots:
        parent = None
        context = (ids.generate_trace_id(), ids.generate_span_id(), False, _SAMPLED_RANDOM, _NO_STATE, True)
    elif type(parent_span) is SDK_SPAN and template.children:
        parent = parent_span._context
        if type(parent) is not SpanContext:
            return None
        trace_id, _, is_remote, flags, state, is_valid = parent
        if not is_valid or is_remote:
            return None
        if flags is not _SAMPLED_RANDOM:
            if not flags & 1:
                return None
            flags = _SAMPLED_RANDOM if flags & 2 else _SAMPLED
        context = (trace_id, ids.generate_span_id(), False, flags, state, True)
    else:
        return None
    span = _new(SDK_SPAN)
    span._context = _new_tuple(SpanContext, context)
    span._parent = parent
    span._instrumentation_info = tracer.instrumentation_info
    span._instrumentation_scope = tracer._instrumentation_scope
    span._end_time = None
    span._resource = tracer.resource
    span._status = UNSET
    span._sampler = template.sampler
    span._trace_config = None
    span._span_processor = tracer.span_processor
    span._limits = limits
    span._lock = threading.Lock()
    span._attributes = _attributes(attributes, template)
    span._events = events = _new(LazyList)
    events.most = template.most_events
    span._links = links = _new(LazyList)
    links.most = template.most_links
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


def _attributes(given: Any, template: _Template) -> Any:
    most = template.most
    if not template.lazy:
        return BoundedAttributes(most, given, False, template.limits.max_span_attribute_length)
    bounded = _new(LazyAttributes)
    bounded.maxlen = most
    if not given:
        bounded._dict = {}
        return bounded
    # One step of the interpreter: another thread may be writing.
    copied = given.copy()
    if (most is None or len(copied) <= most) and is_clean(copied):
        bounded._dict = copied
    else:
        bounded._dict = {}
        bounded._set_items(copied)
    return bounded


def _end(slow: Callable[..., Any], queues: _Queues) -> Callable[..., Any]:
    queue_of = queues.of

    def end(span: Any, end_time: Any = None) -> None:
        queue = queue_of(span._span_processor) if type(span) is SDK_SPAN else None
        if queue is None or span._record_end_metrics is not noop:
            slow(span, end_time)
            return
        with span._lock:
            is_first = span._end_time is None and span._start_time is not None
            if is_first:
                span._end_time = time.time_ns() if end_time is None else end_time
                attributes = span._attributes
                attributes._immutable = True
        if is_first:
            queue.queue_span(span, span._context[3], attributes._dict)
        else:
            slow(span, end_time)

    return end


def _set_attribute(slow: Callable[..., Any]) -> Callable[..., Any]:
    def set_attribute(span: Any, key: Any, value: Any) -> None:
        if type(value) in PLAIN and type(key) is str and key and type(span) is SDK_SPAN:
            attributes: Any = span._attributes
            if attributes._dict.get(key, _NOTHING) is value and span._end_time is None:
                # Instrumentations set again the attributes that they started the span with.
                return
            if attributes.max_value_len is None:
                # The SDK also holds the span's lock where it writes to its attributes.
                with span._lock:
                    found = attributes._dict
                    if span._end_time is None and (attributes.maxlen is None or len(found) < attributes.maxlen):
                        # The newest attribute comes last, as with the SDK.
                        found.pop(key, None)
                        found[key] = value
                        return
        slow(span, key, value)

    return set_attribute
