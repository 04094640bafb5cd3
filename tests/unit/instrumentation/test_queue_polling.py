"""Which root spans of clients are polls: the stack decides."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import SpanKind

from otel_distro.instrumentation import queue_polling

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.testing import Telemetry

CALL = "def call(function):\n    return function()\n"


def through(*modules: str, function: Callable[[], Any]) -> Any:
    """Call ``function`` from frames of these modules, the outermost first."""
    for name in reversed(modules):
        module = ModuleType(name)
        exec(CALL, vars(module))
        function = _bound(module.call, function)
    return function()


def _bound(call: Callable[..., Any], function: Callable[[], Any]) -> Callable[[], Any]:
    module = ModuleType("redis.client")
    exec("def bind(call, function):\n    return lambda: call(function)\n", vars(module))
    bound: Callable[[], Any] = module.bind(call, function)
    return bound


def frame() -> Any:
    """Return the frame of the caller."""
    return sys._getframe(1)


@pytest.mark.parametrize(
    ("modules", "is_poll"),
    [
        (("celery.worker.heartbeat", "kombu.messaging", "redis.client"), True),
        (("shop", "celery.worker.heartbeat", "threading", "redis.client"), True),
        (("rq.worker", "rq.job", "redis.client"), True),
        (("celery.worker.consumer", "shop.tasks", "redis.client"), False),
        (("rq.worker", "__main__", "rq.queue", "redis.client"), False),
        (("shop", "celery.app.task", "kombu.messaging", "redis.client"), False),
        (("apscheduler.schedulers.base", "redis.client"), False),
    ],
)
def test_call_is_a_poll_where_a_loop_makes_it(modules: tuple[str, ...], is_poll: bool) -> None:
    """The innermost frame that is no client decides, whatever calls the loop."""
    inner = ModuleType("redis.client")
    exec("import sys\ndef frame():\n    return sys._getframe()\n", vars(inner))
    assert queue_polling.is_loop(through(*modules, function=inner.frame)) is is_poll


@pytest.fixture
def looked_at(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave polls out for the time of a test; this module is a loop of a library."""
    monkeypatch.setattr(Tracer, "start_span", Tracer.start_span)
    queue_polling._on_worker(None)
    monkeypatch.setitem(queue_polling._loops, __name__, True)


@pytest.mark.usefixtures("looked_at")
def test_only_root_spans_of_clients_are_left_out(telemetry: Telemetry) -> None:
    """Tasks have spans, and every call inside of them."""
    tracer = trace.get_tracer("test")
    for kind in SpanKind:
        tracer.start_span(f"root {kind.name}", kind=kind).end()
    with tracer.start_as_current_span("task", kind=SpanKind.CONSUMER):
        tracer.start_span("call", kind=SpanKind.CLIENT).end()
    names = [span.name for span in telemetry.spans()]
    assert names == ["root INTERNAL", "root SERVER", "root PRODUCER", "root CONSUMER", "call", "task"]


@pytest.mark.usefixtures("looked_at")
def test_bug_in_looking_at_the_stack_keeps_the_span(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, swallowed: list[str]
) -> None:
    """The span is made as without the check."""
    monkeypatch.setattr(queue_polling, "is_loop", lambda _: 1 / 0)
    trace.get_tracer("test").start_span("call", kind=SpanKind.CLIENT).end()
    assert [span.name for span in telemetry.spans()] == ["call"]
    assert len(swallowed) == 1
    swallowed.clear()
