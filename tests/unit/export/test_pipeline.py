"""From ended items to a real server: back-pressure, order, retries, and flush."""

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


def test_burst_beyond_capacity_loses_nothing(
    server: Server, start: Callable[..., Pipeline], telemetry: Telemetry
) -> None:
    """Fifty thousand spans, far more than the queue holds, all arrive.

    Producers spool them themselves.
    """
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


def test_spans_of_one_thread_arrive_in_order(server: Server, start: Callable[..., Pipeline]) -> None:
    """Spans of one thread arrive in the order in which they ended, over many batches."""
    pipeline = start(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="7")
    names = [str(number) for number in range(1000)]
    put(pipeline, *names)
    assert pipeline.flush(60)
    assert span_names(server.requests) == names


def test_items_waiting_too_long_are_spooled_by_the_producer(
    start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy program keeps the GIL from the writer.

    Then items that wait too long are spooled by put().
    """
    monkeypatch.setattr(worker.Worker, "start", lambda _: False)
    pipeline = start(OTEL_BSP_MAX_QUEUE_SIZE="10000000", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1000000")
    put(pipeline, "first")
    count = 0
    while pipeline.spool.pending()["traces"][0] == 1:
        put(pipeline, *["busy"] * 8)
        count += 8
        assert count < 5_000_000
    assert pipeline.spool.pending()["traces"][0] == 1 + count


def test_first_item_is_spooled_by_the_producer(start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    """put() opens the file, in a new process and in a forked child.

    It would take the writer long.
    """
    monkeypatch.setattr(worker.Worker, "start", lambda _: False)
    pipeline = start(signals=("traces", "logs"))
    put(pipeline, "first", "second")
    assert pipeline.spool.pending()["traces"][0] == 1
    pipeline.before_fork()
    pipeline.reset_after_fork(lambda: False)
    assert pipeline.spool.pending() == {}
    put(pipeline, "first", "second")
    assert pipeline.spool.pending()["traces"][0] == 1


def test_checkpoint_file_is_opened_by_the_first_measurement(
    start: Callable[..., Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measuring thread opens the file, once and not at every collection."""
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


def test_items_are_sent_after_the_schedule_delay(server: Server, start: Callable[..., Pipeline]) -> None:
    """Without a flush, ended spans are sent after the delay of the setting."""
    pipeline = start(OTEL_BSP_SCHEDULE_DELAY="1")
    put(pipeline, "a")
    server.wait_for(1)
    assert span_names(server.requests) == ["a"]


@pytest.mark.parametrize("status", ["503 Busy", "404 Not Found", "401 Unauthorized", "302 Found"])
def test_request_refused_for_now_is_kept_and_sent_again(
    server: Server, start: Callable[..., Pipeline], status: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is sent again, whole and once; the outage and its end are one message each."""
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


def test_request_is_retried_without_a_new_item(server: Server, start: Callable[..., Pipeline]) -> None:
    """After an outage the backlog is sent without a new item or flush."""
    server.answers[:] = [http("503 Busy", b"", ""), http()]
    put(start(OTEL_BSP_SCHEDULE_DELAY="1"), "a")
    server.wait_for(2)
    assert span_names(server.requests) == ["a", "a"]


def test_item_that_the_server_rejects_is_found_and_others_arrive(
    server: Server, start: Callable[..., Pipeline], telemetry: Telemetry
) -> None:
    """Of a rejected request the bad item is found and kept as dead letter; the others arrive."""

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


def test_request_that_is_too_large_is_split(server: Server, start: Callable[..., Pipeline]) -> None:
    """A server that answers 413 gets smaller requests."""

    def judge(connection: Any) -> None:
        large = len(server.requests[-1].body) > 2000
        connection.sendall(http("413 Too Large" if large else "200 OK", b"", "", "Connection: close"))

    server.answers[:] = [judge]
    pipeline = start(OTEL_EXPORTER_OTLP_COMPRESSION="none")
    names = [str(number) for number in range(300)]
    put(pipeline, *names)
    assert pipeline.flush(60)
    assert span_names(request for request in server.requests if len(request.body) <= 2000) == names


def test_flush_to_hanging_server_returns_false_in_time(server: Server, start: Callable[..., Pipeline]) -> None:
    """``flush()`` returns False when its time is over, and the application continues."""
    server.answers[:] = [server.hang]
    pipeline = start()
    put(pipeline, "a")
    assert not pipeline.flush(0.3)
    assert not server.closing.is_set()
    assert pipeline.spool.pending()["traces"][0] == 1


def test_flush_without_items_sends_nothing(server: Server, start: Callable[..., Pipeline]) -> None:
    """An empty pipeline is flushed at once without a request."""
    assert start().flush(60)
    assert server.requests == []


def test_flush_from_many_threads_delivers_each_threads_items(server: Server, start: Callable[..., Pipeline]) -> None:
    """After its flush returns, what each thread has ended before is delivered."""
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
