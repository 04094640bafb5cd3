"""From ended items to a real server: back-pressure, order, holding and trying again, and flush."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_distro import schema as s
from otel_distro._runtime import worker
from otel_distro.export.build import assemble
from tests.support.items import put, span, span_names
from tests.support.otlp_server import Server, http

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_distro.export.pipeline import Pipeline
    from otel_distro.testing import Telemetry


def test_burst_loses_nothing(server: Server, start: Callable[..., Pipeline], telemetry: Telemetry) -> None:
    """Fifty thousand spans in one go, far more than the queue holds, all arrive: who is too fast does the work himself."""
    pipeline = start(meter=telemetry.providers[1].get_meter("test"))
    item = span("burst")
    for _ in range(50_000):
        pipeline.put("traces", item)
    assert pipeline.flush(120)
    assert Counter(span_names(server.requests)) == {"burst": 50_000}
    processed = {
        point.attributes.get(s.ERROR_TYPE.name): point.value
        for point in telemetry.metric(s.SDK_PROCESSED["traces"].name)
    }
    exported = {
        point.attributes.get(s.ERROR_TYPE.name): point.value
        for point in telemetry.metric(s.SDK_EXPORTED["traces"].name)
    }
    assert processed == exported == {None: 50_000}


def test_order_is_kept(server: Server, start: Callable[..., Pipeline]) -> None:
    """What one thread ends arrives in the order it ended, over many batches."""
    pipeline = start(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="7")
    names = [str(number) for number in range(1000)]
    put(pipeline, *names)
    assert pipeline.flush(60)
    assert span_names(server.requests) == names


def test_who_ends_items_writes_them(start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that computes for long leaves the writer no time; then what waits for too long is written in its own thread."""
    monkeypatch.setattr(worker.Worker, "start", lambda _: False)
    pipeline = start(OTEL_BSP_MAX_QUEUE_SIZE="10000000", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1000000")
    put(pipeline, "first")
    count = 0
    while pipeline.spool.pending()["traces"][0] == 1:
        put(pipeline, *["busy"] * 8)
        count += 8
        assert count < 5_000_000
    assert pipeline.spool.pending()["traces"][0] == 1 + count


def test_first_item_is_written_by_who_ends_it(start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is opened there, in a new process and in a forked child: a thread of ours would take long beside a busy program."""
    monkeypatch.setattr(worker.Worker, "start", lambda _: False)
    pipeline = start(signals=("traces", "logs"))
    put(pipeline, "first", "second")
    assert pipeline.spool.pending()["traces"][0] == 1
    pipeline.before_fork()
    pipeline.after_fork_in_child(lambda: False)
    assert pipeline.spool.pending() == {}
    put(pipeline, "first", "second")
    assert pipeline.spool.pending()["traces"][0] == 1


def test_file_for_counters_is_opened_by_who_counts(
    start: Callable[..., Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for what is counted, once and not at every collection."""
    monkeypatch.setattr(worker.Worker, "start", lambda _: False)
    start(signals=())
    pipeline, reader = assemble(("metrics",), "shop")
    assert reader is not None
    counter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test").create_counter("orders")
    pipeline.start()
    assert not list(tmp_path.rglob("*.metrics.seg"))
    counter.add(1)
    assert len(list(tmp_path.rglob("*.metrics.seg"))) == 1
    pipeline.finish(0)


def test_sends_by_itself_after_the_delay(server: Server, start: Callable[..., Pipeline]) -> None:
    """Nobody has to flush: what has ended is sent after the delay of the setting."""
    pipeline = start(OTEL_BSP_SCHEDULE_DELAY="1")
    put(pipeline, "a")
    server.wait_for(1)
    assert span_names(server.requests) == ["a"]


@pytest.mark.parametrize("status", ["503 Busy", "404 Not Found", "401 Unauthorized", "302 Found"])
def test_held_and_tried_again(
    server: Server, start: Callable[..., Pipeline], status: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the server does not take now is kept and sent again, whole and once; going and coming are a line each."""
    server.answers[:] = [http(status, b"", ""), http()]
    pipeline = start()
    put(pipeline, "a", "b")
    assert not pipeline.flush(60)
    assert pipeline.spool.pending()["traces"][0] == 2
    put(pipeline, "c")
    assert pipeline.flush(60)
    assert [span_names([request]) for request in server.requests] == [["a", "b"], ["a", "b", "c"]]
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert f"cannot deliver to {server.endpoint} (HTTP {status})" in lines[0]
    assert f"delivering to {server.endpoint} again" in lines[1]


def test_tries_again_by_itself(server: Server, start: Callable[..., Pipeline]) -> None:
    """After an outage what waits goes out without anything new having to happen."""
    server.answers[:] = [http("503 Busy", b"", ""), http()]
    put(start(OTEL_BSP_SCHEDULE_DELAY="1"), "a")
    server.wait_for(2)
    assert span_names(server.requests) == ["a", "a"]


def test_item_that_the_server_refuses_goes_alone(
    server: Server, start: Callable[..., Pipeline], telemetry: Telemetry
) -> None:
    """Of a request that is refused for its content the item to blame is found and set aside; the others arrive."""

    def judge(connection: Any) -> None:
        bad = b"poison" in server.requests[-1].body
        connection.sendall(http("400 Bad Request" if bad else "200 OK", b"", "", "Connection: close"))

    server.answers[:] = [judge]
    pipeline = start(meter=telemetry.providers[1].get_meter("test"), OTEL_EXPORTER_OTLP_COMPRESSION="none")
    put(pipeline, *(str(number) for number in range(20)), "poison", "last")
    assert pipeline.flush(60)
    taken = [name for request in server.requests if b"poison" not in request.body for name in span_names([request])]
    assert sorted(taken, key=str) == sorted([*(str(number) for number in range(20)), "last"])
    points = telemetry.metric(s.SDK_EXPORTED["traces"].name)
    assert {p.attributes.get(s.ERROR_TYPE.name): p.value for p in points} == {None: 21, "HTTP 400 Bad Request": 1}


def test_request_that_is_too_large_is_cut(server: Server, start: Callable[..., Pipeline]) -> None:
    """A server that finds a request too large gets smaller ones."""

    def judge(connection: Any) -> None:
        large = len(server.requests[-1].body) > 2000
        connection.sendall(http("413 Too Large" if large else "200 OK", b"", "", "Connection: close"))

    server.answers[:] = [judge]
    pipeline = start(OTEL_EXPORTER_OTLP_COMPRESSION="none")
    names = [str(number) for number in range(300)]
    put(pipeline, *names)
    assert pipeline.flush(60)
    assert span_names(request for request in server.requests if len(request.body) <= 2000) == names


def test_hanging_server_does_not_hold_flush(server: Server, start: Callable[..., Pipeline]) -> None:
    """``flush()`` says False when its time is over, and the application goes on."""
    server.answers[:] = [server.hang]
    pipeline = start()
    put(pipeline, "a")
    assert not pipeline.flush(0.3)
    assert not server.closing.is_set()
    assert pipeline.spool.pending()["traces"][0] == 1


def test_nothing_to_flush(server: Server, start: Callable[..., Pipeline]) -> None:
    """Where nothing waits ``flush()`` is done at once and sends nothing."""
    assert start().flush(60)
    assert server.requests == []


def test_flush_from_many_threads(server: Server, start: Callable[..., Pipeline]) -> None:
    """Whoever flushes, and however many at once, what each has ended before is there afterwards."""
    pipeline = start()
    seen: list[bool] = []

    def work(number: int) -> None:
        put(pipeline, str(number))
        pipeline.flush(60)
        seen.append(str(number) in span_names(list(server.requests)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8
    assert sorted(span_names(server.requests)) == [str(number) for number in range(8)]
