"""Parts of a span that are made when they are needed are the SDK's from then on."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import Event, SpanLimits, TracerProvider
from opentelemetry.sdk.util import BoundedList

from otel_distro._otel.safe_api import install_safe_api
from otel_distro._otel.span_events import add_event
from otel_distro._otel.span_parts import LazyAttributes, LazyList
from otel_distro.export.encode.request import encode_spans
from otel_distro.export.processors import QueueSpanProcessor
from tests.support.messages import spans_of

install_safe_api(QueueSpanProcessor)


def started(limits: SpanLimits | None = None) -> Any:
    provider = TracerProvider(meter_provider=NoOpMeterProvider(), shutdown_on_exit=False, span_limits=limits)
    return provider.get_tracer("shop").start_span("x", attributes={"a": 1})


def new_list(most: int | None) -> Any:
    made: Any = object.__new__(LazyList)
    made.most = most
    return made


def test_unused_events_and_links_are_not_made() -> None:
    """A span has neither deque nor lock for them, also after its end; its lists are empty."""
    span = started()
    span.end()
    assert [type(vars(span)[name]) for name in ("_events", "_links")] == [LazyList, LazyList]
    assert (span.events, span.links, span.dropped_events, span.dropped_links) == ((), (), 0, 0)


@pytest.mark.parametrize("use", [len, list, repr, lambda made: made.append(1), lambda made: made.extend([1])])
def test_list_at_its_first_use_becomes_the_sdks(use: Any) -> None:
    """Whatever is called first, its class and what it holds are the SDK's."""
    made = new_list(3)
    use(made)
    assert type(made) is BoundedList
    assert vars(made).keys() >= vars(BoundedList(3)).keys()
    assert vars(made)["_dq"].maxlen == 3
    made.extend([1, 2, 3, 4])
    assert len(made) == 3


def test_missing_attribute_of_unused_list_raises() -> None:
    """It has no attributes that the SDK's list has not."""
    with pytest.raises(AttributeError, match=r"BoundedList.*nothing"):
        new_list(1).nothing  # noqa: B018


def test_list_used_first_by_many_threads_keeps_every_item() -> None:
    """All of them append to one deque."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            made = new_list(None)
            barrier = threading.Barrier(4)

            def work(target: Any, start: threading.Barrier) -> None:
                start.wait()
                target.append(1)

            threads = [threading.Thread(target=work, args=(made, barrier)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert list(made) == [1] * 4
    finally:
        sys.setswitchinterval(before)


def test_attributes_whose_lock_was_taken_are_the_sdks() -> None:
    """``set_attributes`` of the SDK takes their lock; values, limit and immutability stay."""
    span = started(SpanLimits(max_span_attributes=2))
    assert type(vars(span)["_attributes"]) is LazyAttributes
    span.set_attributes({"b": [1, 2], "c": 3})
    attributes = vars(span)["_attributes"]
    assert type(attributes) is BoundedAttributes
    assert (dict(attributes), attributes.dropped, attributes.maxlen) == ({"b": (1, 2), "c": 3}, 1, 2)
    span.end()
    with pytest.raises(TypeError):
        attributes["d"] = 4


@pytest.mark.parametrize(
    "limits", [None, SpanLimits(max_events=1), SpanLimits(max_event_attributes=1, max_attribute_length=2)]
)
def test_event_on_fast_path_equals_the_sdks(limits: SpanLimits | None) -> None:
    """Name, time, attributes and limits; a value that needs cleaning too."""
    quick, slow = started(limits), started(limits)
    for attributes in ({"a": "long", "b": 1}, {"a": [1, object]}, {}):
        add_event(quick, "e", dict(attributes), 5)
        slow.add_event("e", attributes, 5)
    events: list[list[Event]] = [list(span.events) for span in (quick, slow)]
    first, second = ([(event.name, event.timestamp, dict(event.attributes or {})) for event in each] for each in events)
    assert first == second
    assert quick.dropped_events == slow.dropped_events
    quick.end()
    (message,) = spans_of(encode_spans([quick]))
    assert len(message.events) == len(first)


def test_event_after_the_end_is_refused_with_the_sdks_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The span stays as it was."""
    span = started()
    span.end()
    add_event(span, "late", {"a": "b"}, None)
    assert span.events == ()
    assert "ended span" in caplog.text


def test_event_goes_through_add_event_that_the_application_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that watches ``Span.add_event`` sees it."""
    seen: list[str] = []
    span = started()
    monkeypatch.setattr(type(span).__mro__[1], "add_event", lambda _, name, *__: seen.append(name))
    add_event(span, "e", {"a": "b"}, None)
    assert seen == ["e"]
