"""The queue of a signal: order, batches, bounds, and items that cannot be encoded."""

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema as s
from otel_distro._runtime.gil import GilYield
from otel_distro.export.encode.request import PreEncoded, encode_spans, pre_encode_spans
from otel_distro.export.self_metrics import ExporterMetrics
from otel_distro.export.signal_queue import PRE_ENCODE_EVERY, SignalQueue
from otel_distro.export.spool.spool import Spool, open_spool, spool_key
from tests.support.items import span

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


@pytest.fixture
def spool() -> Spool:
    """A spool in memory."""
    return open_spool({"OTEL_DISTRO_SPOOL": "off"}, spool_key("http://nowhere.invalid"), "shop")


@pytest.fixture
def queue(spool: Spool, telemetry: Telemetry) -> SignalQueue:
    """A queue of ten spans, three in a batch, that reports on itself."""
    meter = telemetry.providers[1].get_meter("test")
    return SignalQueue(
        "traces", encode_spans, spool, ExporterMetrics("traces", meter, "http://x:4318", 10), capacity=10, batch=3
    )


def counts(telemetry: Telemetry, metric: s.Metric) -> dict[Any, float]:
    """Return the counter by ``error.type``."""
    return {point.attributes.get(s.ERROR_TYPE.name): point.value for point in telemetry.metric(metric.name)}


def test_queue_spools_batches_in_order(queue: SignalQueue, spool: Spool, telemetry: Telemetry) -> None:
    """Items leave in the order they were put, at most a batch in one body, and are counted."""
    assert [queue.put(span(str(number))) for number in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert [queue.spool_batch() for _ in range(4)] == [True, True, True, False]
    assert spool.pending()["traces"][0] == 7
    assert [len(queue.items), counts(telemetry, s.SDK_PROCESSED["traces"])] == [0, {None: 7}]
    batch = spool.lease("traces", 1 << 20)
    assert batch is not None
    assert [batch.body.index(str(number).encode()) for number in range(7)] == sorted(
        batch.body.index(str(number).encode()) for number in range(7)
    )


def test_spool_batch_with_pauses_gives_the_same_body(spool: Spool, telemetry: Telemetry) -> None:
    """With pauses for other threads the body and the counts of dropped items are the same."""
    meter = telemetry.providers[1].get_meter("test")
    queue = SignalQueue(
        "traces", encode_spans, spool, ExporterMetrics("traces", meter, "http://x:4318", 200), capacity=200
    )
    items: list[Any] = [span(str(number)) for number in range(100)]
    items[70] = object()
    bodies = []
    for pauses in (None, GilYield(enabled=False), GilYield()):
        for item in items:
            queue.put(item)
        assert queue.spool_batch(pauses)
        batch = spool.lease("traces", 1 << 20)
        assert batch is not None
        spool.acknowledge(batch)
        bodies.append((batch.body, batch.count))
    assert bodies[0] == bodies[1] == bodies[2]
    assert counts(telemetry, s.SDK_PROCESSED["traces"]) == {None: 297, "unencodable": 3}


def test_spool_batch_of_pre_encoded_items_gives_the_same_body(spool: Spool, telemetry: Telemetry) -> None:
    """Items encoded ahead, a few at a time, give the same body; the newest one is left as it is."""
    meter = telemetry.providers[1].get_meter("test")
    metrics = ExporterMetrics("traces", meter, "http://x:4318", 200)
    items: list[Any] = [span(str(number)) for number in range(100)]
    items[40] = object()
    bodies = []
    for every in (1000, 1, 4, 7):
        queue = SignalQueue("traces", encode_spans, spool, metrics, capacity=200, batch=30, pre_encode=pre_encode_spans)
        for number, item in enumerate(items, 1):
            queue.put(item)
            if not number % every:
                queue.pre_encode()
                assert type(queue.items[-1]) is not PreEncoded
            if number == 50:
                assert queue.spool_batch()
        while queue.spool_batch():
            continue
        found = []
        while (batch := spool.lease("traces", 1 << 20)) is not None:
            spool.acknowledge(batch)
            found.append((batch.body, batch.count))
        bodies.append(found)
    assert bodies[1:] == bodies[:1] * 3
    assert counts(telemetry, s.SDK_PROCESSED["traces"]) == {None: 4 * 99, "unencodable": 4}


def test_pre_encode_is_limited_and_skipped_while_locked(queue: SignalQueue, spool: Spool, telemetry: Telemetry) -> None:
    """It encodes a few items, and none without a function or while the queue is locked."""
    for number in range(9):
        queue.put(span(str(number)))
    queue.pre_encode()
    assert PreEncoded not in map(type, queue.items)
    meter = telemetry.providers[1].get_meter("test")
    metrics = ExporterMetrics("traces", meter, "http://x:4318", 200)
    other = SignalQueue("traces", encode_spans, spool, metrics, capacity=200, pre_encode=pre_encode_spans)
    for number in range(100):
        other.put(span(str(number)))
    with other.lock:
        other.pre_encode()
    assert PreEncoded not in map(type, other.items)
    other.pre_encode()
    assert [type(item) is PreEncoded for item in other.items] == [True] * 2 * PRE_ENCODE_EVERY + [False] * (
        100 - 2 * PRE_ENCODE_EVERY
    )


def test_pre_encode_with_concurrent_put_and_drop_loses_no_span(spool: Spool, telemetry: Telemetry) -> None:
    """Many threads put, encode, spool and drop: each span arrives once or is counted as dropped."""
    meter = telemetry.providers[1].get_meter("test")
    metrics = ExporterMetrics("traces", meter, "http://x:4318", 20)
    queue = SignalQueue("traces", encode_spans, spool, metrics, capacity=20, batch=6, pre_encode=pre_encode_spans)
    spans = [[span(f"<{thread}.{number}>") for number in range(400)] for thread in range(4)]

    def work(own: list[Any]) -> None:
        for number, item in enumerate(own):
            queue.put(item)
            if not number % 2:
                queue.pre_encode()
            if not number % 5:
                queue.drop_beyond_capacity()
            if not number % 7:
                with queue.lock:
                    queue.spool_batch()

    threads = [threading.Thread(target=work, args=(own,)) for own in spans]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    while queue.spool_batch():
        continue
    arrived: list[bytes] = []
    while (batch := spool.lease("traces", 1 << 20)) is not None:
        spool.acknowledge(batch)
        arrived += re.findall(rb"<\d\.\d+>", batch.body)
    assert len(arrived) == len(set(arrived))
    found = counts(telemetry, s.SDK_PROCESSED["traces"])
    assert found[None] == len(arrived)
    assert found[None] + found.get("queue_full", 0) == 1600


def test_queue_beyond_capacity_drops_the_oldest(queue: SignalQueue, telemetry: Telemetry) -> None:
    """The oldest items beyond the capacity are dropped, and each one is counted."""
    for number in range(25):
        queue.put(span(str(number)))
    queue.drop_beyond_capacity()
    assert [item.name for item in queue.items] == [str(number) for number in range(15, 25)]
    assert counts(telemetry, s.SDK_PROCESSED["traces"]) == {"queue_full": 15}


def test_item_that_cannot_be_encoded_is_dropped_alone(queue: SignalQueue, spool: Spool, telemetry: Telemetry) -> None:
    """An object that is not a span is dropped and counted; the spans beside it are spooled."""
    for item in (span("a"), object(), span("b")):
        queue.put(item)
    assert queue.spool_batch()
    assert spool.pending()["traces"][0] == 2
    found = counts(telemetry, s.SDK_PROCESSED["traces"])
    assert found.pop(None) == 2
    assert list(found.values()) == [1]


def test_queue_reports_size_and_capacity(queue: SignalQueue, telemetry: Telemetry) -> None:
    """The queue reports both under the names and attributes of the semantic conventions."""
    queue.put(span("a"))
    (size,) = telemetry.metric(s.SDK_QUEUE_SIZE["traces"].name)
    (room,) = telemetry.metric(s.SDK_QUEUE_CAPACITY["traces"].name)
    assert (size.value, room.value) == (1, 10)
    assert dict(size.attributes or {}) == dict(room.attributes or {})
    assert dict(size.attributes or {}) == {
        "otel.component.type": "batching_span_processor",
        "otel.component.name": "batching_span_processor/0",
    }


def test_queue_after_fork_is_empty(queue: SignalQueue, spool: Spool) -> None:
    """The parent delivers what was queued; the child forgets it."""
    queue.put(span("a"))
    queue.reset_after_fork()
    assert (list(queue.items), queue.spool_batch(), spool.pending()) == ([], False, {})


def test_queue_used_by_many_threads_counts_every_item(queue: SignalQueue, spool: Spool, telemetry: Telemetry) -> None:
    """Every item is spooled, dropped or still queued, and all of them are counted."""

    def work(number: int) -> None:
        for _ in range(500):
            queue.put(span(str(number)))
            queue.drop_beyond_capacity()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    spooled = 0
    while any(thread.is_alive() for thread in threads):
        spooled += queue.spool_batch()
    for thread in threads:
        thread.join()
    while queue.spool_batch():
        pass
    found = counts(telemetry, s.SDK_PROCESSED["traces"])
    assert found.get(None, 0) + found.get("queue_full", 0) == 2000
    assert spool.pending()["traces"][0] == found[None]
