"""The end of a pipeline: its budget, what is left for the next start, and repeated calls."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil
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


def test_finish_with_hanging_server_keeps_its_budget(
    server: Server, start: Callable[..., Pipeline], capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that hangs does not delay the exit; what is left is reported and stays on disk."""
    server.answers[:] = [server.hang]
    pipeline = start()
    put(pipeline, "a", "b")
    pipeline.finish(0.3)
    assert not server.closing.is_set()
    left = (
        "otel-distro: not delivered before the end of the process, kept on disk for the next start: 2 of traces [OD311]"
    )
    assert left in capfd.readouterr().err.splitlines()


def test_finish_during_slow_request_sends_the_rest_beside_it(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow collector gets newer items in a second request at the same time.

    Nothing arrives twice.
    """
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


def test_next_start_delivers_what_is_left(server: Server, start: Callable[..., Pipeline]) -> None:
    """Records that one process could not deliver are delivered by the next one."""
    server.answers[:] = [http("503 Busy", b"", ""), http()]
    first = start()
    put(first, "a", "b")
    first.finish(5)
    second = start(OTEL_BSP_SCHEDULE_DELAY="1")
    put(second, "c")
    server.wait_until(lambda requests: sorted(span_names(requests[1:])) == ["a", "b", "c"])


def test_finish_delivers_everything_and_stops(server: Server, start: Callable[..., Pipeline]) -> None:
    """Afterwards nothing is queued, flushed or sent any more; a second call does nothing."""
    pipeline = start()
    put(pipeline, "a")
    pipeline.finish(60)
    assert span_names(server.requests) == ["a"]
    put(pipeline, "late")
    assert not pipeline.flush(1)
    pipeline.finish(60)
    assert span_names(server.requests) == ["a"]


def test_finish_closes_idle_connections(server: Server, start: Callable[..., Pipeline]) -> None:
    """A connection that was kept for the next request is closed at the end."""

    def connections() -> int:
        found = psutil.Process().net_connections("tcp4")
        return sum(bool(each.raddr) and each.raddr.port == server.port for each in found)

    pipeline = start()
    put(pipeline, "a")
    assert pipeline.flush(60)
    assert connections() == 1
    pipeline.finish(60)
    assert connections() == 0


def test_finish_called_twice_waits_for_the_first(server: Server, start: Callable[..., Pipeline]) -> None:
    """A second thread or a handler that calls finish() waits for the end of the first call."""
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


def test_sender_serves_signals_in_turn(server: Server, start: Callable[..., Pipeline]) -> None:
    """While more spans come than a slow collector accepts, log records get their turn too."""

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


def test_finish_while_splitting_a_rejected_batch_leaves_the_rest(
    server: Server, start: Callable[..., Pipeline]
) -> None:
    """The next process sends the pieces that are left, and no more."""
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


def test_flush_and_finish_collect_metrics(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush collects, and so does the end: late measurements are delivered."""
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


def test_finish_with_hanging_callback_delivers_the_rest(server: Server, start: Callable[..., Pipeline]) -> None:
    """A callback that never returns loses its own metric only, and does not delay the exit."""
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


def test_flush_and_finish_without_threads_run_in_the_caller(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started, both deliver all the same."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("otel_distro._runtime.threads.start_new_thread", refuse)
    pipeline = start()
    put(pipeline, "a")
    assert pipeline.flush(60)
    put(pipeline, "b")
    pipeline.finish(60)
    assert span_names(server.requests) == ["a", "b"]
