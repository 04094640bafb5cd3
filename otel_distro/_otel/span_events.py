"""Events of attributes that need no cleaning, added to a span without the SDK's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, Span
from opentelemetry.sdk.util import BoundedList

from otel_distro._otel import patches
from otel_distro._otel.fast_measurements import is_clean
from otel_distro._otel.sdk import SDK_SPAN
from otel_distro._otel.span_parts import LazyAttributes, LazyList

if TYPE_CHECKING:
    from collections.abc import Callable

_new: Callable[[Any], Any] = object.__new__
_add_event: Any = None
"""``Span.add_event`` of the SDK, within the guard around it. Another one in its place is called."""


def install() -> None:
    """Note what ``Span.add_event`` is now. Called once the guard is around it."""
    patches.FAST_EVENTS.install(_install)


def _install() -> None:
    global _add_event
    _add_event = Span.add_event


def add_event(span: Any, name: str, attributes: dict[str, Any], timestamp: int | None) -> None:
    """Add an event; the same as ``span.add_event``.

    ``attributes`` must not be changed afterwards.
    """
    if type(span) is SDK_SPAN and Span.add_event is _add_event:
        limits = span._limits
        most = limits.max_event_attributes
        if limits.max_attribute_length is None and (most is None or len(attributes) <= most) and is_clean(attributes):
            made = _new(LazyAttributes)
            made.maxlen = most
            made._dict = attributes
            made._immutable = True
            event = Event(name, made, timestamp)
            with span._lock:
                if span._end_time is None:
                    events: Any = span._events
                    if type(events) is LazyList:
                        events = span._events = BoundedList(limits.max_events)
                    events.append(event)
                    return
    span.add_event(name, attributes, timestamp)
