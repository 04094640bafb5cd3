"""The end of a pipeline: its budget, what is left to the next start, and whoever asks for it again or meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_distro.export.build import assemble
from otel_distro.export.send import delivery
from tests.support.items import metric_names, put, span_names
from tests.support.otlp_server import Server, http

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from otel_distro.export.pipeline import Pipeline


def test_finish_keeps_its_budget(
    server: Server, start: Callable[..., Pipeline], capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that hangs does not hold the end of the process; what is left is told and waits on the disk."""
    server.answers[:] = [server.hang]
    pipeline = start()
    put(pipeline, "a", "b")
    pipeline.finish(0.3)
    assert not server.closing.is_set()
    left = (
        "otel-distro: not delivered before the end of the process, kept on disk for the next start: 2 of traces [OD311]"
    )
    assert left in capfd.readouterr().err.splitlines()


def test_rest_does_not_wait_for_the_answer_to_what_is_under_way(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow collector that is at a request when the process ends gets what came meanwhile beside it; nothing comes twice."""
    monkeypatch.setattr(delivery, "_SLOW_ANSWER_S", 0.0)

    def when_the_next_is_there(connection: socket.socket) -> None:
        server.wait_for(3)
        connection.sendall(http())

    pipeline = start(OTEL_BSP_SCHEDULE_DELAY="1")
    put(pipeline, "a")
    assert pipeline.flush(60)
    server.answers[:] = [when_the_next_is_there, http()]
    put(pipeline, "b")
    server.wait_for(2)
    put(pipeline, "c")
    pipeline.finish(60)
    assert span_names(server.requests) == ["a", "b", "c"]
    assert pipeline.spool.pending() == {}


def test_next_start_delivers_what_was_left(server: Server, start: Callable[..., Pipeline]) -> None:
    """What one process could not deliver comes with the next one that lives a moment."""
    server.answers[:] = [http("503 Busy", b"", ""), http()]
    first = start()
    put(first, "a", "b")
    first.finish(5)
    second = start(OTEL_BSP_SCHEDULE_DELAY="1")
    put(second, "c")
    server.wait_until(lambda requests: sorted(span_names(requests[1:])) == ["a", "b", "c"])


def test_finish_delivers_and_ends(server: Server, start: Callable[..., Pipeline]) -> None:
    """The last delivery takes everything; afterwards nothing is queued, flushed or sent any more, and twice is once."""
    pipeline = start()
    put(pipeline, "a")
    pipeline.finish(60)
    assert span_names(server.requests) == ["a"]
    put(pipeline, "late")
    assert not pipeline.flush(1)
    pipeline.finish(60)
    assert span_names(server.requests) == ["a"]


def test_who_finishes_too_waits_for_the_end(server: Server, start: Callable[..., Pipeline]) -> None:
    """The end of the process may be asked for again, by another thread or a handler, before it has come: nobody leaves early."""
    again = threading.Event()

    def once_both_wait(connection: socket.socket) -> None:
        again.wait(60)
        connection.sendall(http())

    server.answers[:] = [once_both_wait]
    pipeline = start()
    put(pipeline, "a")
    first = threading.Thread(target=pipeline.finish, args=(60,))
    first.start()
    server.wait_for(1)
    again.set()
    pipeline.finish(60)
    assert pipeline.spool.pending() == {}
    assert pipeline._ended
    first.join(60)
    assert span_names(server.requests) == ["a"]


def test_no_signal_is_left_behind(server: Server, start: Callable[..., Pipeline]) -> None:
    """While more spans come than a slow collector takes, what comes of another signal has its turn all the same."""

    def answer(connection: socket.socket) -> None:
        if len(server.requests) == 1:
            pipeline.spool.append("logs", b"l", 1)
        if len(server.requests) < 30:
            pipeline.spool.append("traces", b"t", 1)
        connection.sendall(http())

    server.answers[:] = [answer]
    pipeline = start()
    pipeline.spool.append("traces", b"t", 1)
    assert pipeline.flush(60)
    assert [request.target for request in server.requests].index("/v1/logs") < 4
    assert len(server.requests) >= 30


def test_end_in_the_middle_of_a_search(server: Server, start: Callable[..., Pipeline]) -> None:
    """A refused batch that is looked through piece by piece when the process ends: the next sends what is left, no more."""
    refused = http("400 Bad Request")
    server.answers[:] = [refused, http(), refused, server.hang]
    pipeline = start()
    names = [str(number) for number in range(64)]
    put(pipeline, *names)
    pipeline.finish(1)
    taken = span_names(server.requests[1:2])
    assert taken == names[:32]
    seen = len(server.requests)
    assert seen == 4
    server.answers[:] = [http()]
    following = start()
    assert following.spool.adopt()
    assert following.flush(60)
    assert sorted(span_names(server.requests[seen:]), key=int) == names[32:]


def test_metrics_are_collected_at_flush_and_at_the_end(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush collects, and so does the end: what was counted in the last moment is told."""
    start()
    pipeline, reader = assemble(("metrics",), "shop")
    assert reader is not None
    counter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    pipeline.start()
    counter.create_counter("shop.first").add(1)
    assert pipeline.flush(60)
    assert metric_names(server.requests) == {"shop.first"}
    counter.create_counter("shop.last").add(1)
    pipeline.finish(60)
    assert metric_names(server.requests) == {"shop.first", "shop.last"}


def test_callback_that_hangs_does_not_hold_the_end(server: Server, start: Callable[..., Pipeline]) -> None:
    """A callback of the application that never returns costs its own metric, not the spans and not the end."""
    start()
    pipeline, reader = assemble(("traces", "metrics"), "shop")
    assert reader is not None
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    stuck = threading.Event()
    meter.create_observable_gauge("shop.stuck", [lambda _: (stuck.wait(60), ())[1]])
    pipeline.start()
    put(pipeline, "a")
    pipeline.finish(2)
    assert not stuck.is_set()
    assert span_names(server.requests) == ["a"]
    stuck.set()


def test_without_threads_the_caller_does_it(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started, flush and the end deliver all the same."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("otel_distro._runtime.threads.start_new_thread", refuse)
    pipeline = start()
    put(pipeline, "a")
    assert pipeline.flush(60)
    put(pipeline, "b")
    pipeline.finish(60)
    assert span_names(server.requests) == ["a", "b"]
