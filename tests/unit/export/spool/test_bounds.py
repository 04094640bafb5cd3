"""Bytes, age, memory and descriptors are bounded; the oldest goes first and is counted; clocks cost nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from otel_distro.export.spool import spool as spool_module
from otel_distro.export.spool.segment import Clock
from otel_distro.export.spool.spool import open_spool
from tests.support.spool_processes import adopt_all, body, folder, segments, spool, take, timed_spool

if TYPE_CHECKING:
    from pathlib import Path


def test_rejected_is_bounded(tmp_path: Path) -> None:
    """Rejected bodies never take more than an eighth of the limit; the newest stay."""
    queue = spool(tmp_path, max_bytes=800_000)
    for number in range(30):
        queue.append("logs", b"%09d" % number + b"y" * 20_000, 1)
        batch = queue.next("logs", 1 << 20)
        assert batch is not None
        queue.dead_letter(batch, "HTTP 422")
    kept = sorted((folder(tmp_path) / "rejected").iterdir())
    assert 80_000 < sum(path.stat().st_size for path in kept) <= 100_000
    assert kept[-1].read_bytes().split(b"\n", 1)[1].startswith(b"%09d" % 29)
    assert queue.dropped() == {("logs", "rejected"): 30}


@pytest.mark.parametrize(("age", "kept"), [("0", [1]), ("0.000001", [])])
def test_age_zero_is_no_bound(tmp_path: Path, age: str, kept: list[int]) -> None:
    """An age of 0 switches that bound off, as no other does."""
    left = spool(tmp_path, max_age=age)
    left.append("traces", body(1), 1)
    left.close()
    queue = spool(tmp_path, max_age=age)
    adopt_all(queue)
    assert take(queue) == kept


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory the oldest of all signals goes first and is counted, but nothing that is being sent."""
    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 16 * 10)
    queue = open_spool({"OTEL_DISTRO_SPOOL": "off"}, "k1", "shop")
    queue.append("traces", body(0), 1)
    sending = queue.next("traces", 16)
    assert sending is not None
    for number in range(1, 21):
        queue.append("logs" if number % 2 else "traces", body(number), 1)
    assert take(queue, "logs") == [13, 15, 17, 19]
    queue.done(sending)
    assert take(queue) == [12, 14, 16, 18, 20]
    assert queue.dropped() == {("logs", "memory_full"): 6, ("traces", "memory_full"): 5}


def test_oldest_dropped_by_size(tmp_path: Path) -> None:
    """Beyond the bound of the directory the oldest goes, is counted, and the disk never holds more."""
    limit = 200_000
    queue = spool(tmp_path, max_bytes=limit)
    data = b"z" * 984
    for number in range(500):
        queue.append("traces", body(number) + data, 1)
        assert sum(path.stat().st_size for path in segments(tmp_path)) <= limit
    batch = queue.next("traces", 1)
    assert batch is not None
    first = int(batch.body[:15])
    assert 500 - limit // 1000 <= first < 500 - limit // 2000
    assert queue.dropped() == {("traces", "size"): first}
    assert queue.pending()["traces"][0] == 500 - first


def test_orphans_count_to_the_bound(tmp_path: Path) -> None:
    """The bound holds for all processes together: what dead ones left is the oldest and goes first."""
    first = spool(tmp_path, max_bytes=100_000)
    for _ in range(80):
        first.append("traces", b"a" * 1000, 1)
    first.close()
    second = spool(tmp_path, max_bytes=100_000)
    for _ in range(50):
        second.append("logs", b"b" * 1000, 1)
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 100_000
    assert second.pending()["logs"][0] == 50
    adopt_all(second)
    dropped = second.dropped()
    assert set(dropped) == {("traces", "size")}
    assert dropped["traces", "size"] + second.pending()["traces"][0] == 80


def test_longer_than_the_bound(tmp_path: Path) -> None:
    """A body that can never fit is counted at once and holds up nobody behind it."""
    queue = spool(tmp_path, max_bytes=10_000)
    queue.append("traces", b"x" * 10_000, 5)
    queue.append("traces", body(2), 1)
    assert take(queue) == [2]
    assert queue.dropped() == {("traces", "size"): 5}


def test_few_descriptors_in_a_long_outage(tmp_path: Path) -> None:
    """However long the outage, few files are open, and everything comes out in order when it ends."""
    queue = spool(tmp_path, max_bytes=4_000_000)
    data = b"z" * 9_984
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1000 // 3):
        queue.append("traces", body(number) + data, 1)
    assert len(segments(tmp_path)) > 12
    assert len(os.listdir("/proc/self/fd")) - before <= 9
    found = []
    while (batch := queue.next("traces", 1)) is not None:
        found.append(int(batch.body[:15]))
        queue.done(batch)
    assert found == list(range(1000 // 3))
    assert queue.dropped() == {}
    queue.close()
    assert segments(tmp_path) == []


class _Clock(Clock):
    """A clock that can be set, and reboot."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.later = 0.0
        self.boots = 1

    def wall(self) -> int:
        return super().wall() + int((self.ahead + self.later) * 1e9)

    def uptime(self) -> int:
        return super().uptime() + int(self.later * 1e9)

    def boot(self) -> bytes:
        return bytes([self.boots] * 16)


def test_age_is_bounded(tmp_path: Path) -> None:
    """What is older than the bound is dropped and counted, own and adopted; what is younger stays."""
    clock = _Clock()
    left = timed_spool(tmp_path, clock)
    left.append("logs", body(0), 1)
    left.close()
    clock.later += 2 * 3600
    queue = timed_spool(tmp_path, clock)
    queue.append("traces", body(1), 1)
    clock.later += 24 * 3600
    queue.append("traces", body(2), 1)
    clock.later += 26 * 3600
    adopt_all(queue)
    assert queue.dropped() == {("logs", "age"): 1, ("traces", "age"): 1}
    assert take(queue) == [2]


@pytest.mark.parametrize("jump", [10 * 365 * 86400.0, -20 * 365 * 86400.0])
def test_setting_the_clock_loses_nothing(tmp_path: Path, jump: float) -> None:
    """A wall clock that is set, forward or back, makes nothing too old and disturbs no order."""
    clock = _Clock()
    left = timed_spool(tmp_path, clock)
    left.append("logs", body(9), 1)
    left.close()
    for number in range(3):
        queue = timed_spool(tmp_path, clock)
        queue.append("traces", body(number), 1)
        queue.close()
        clock.ahead += jump
    queue = timed_spool(tmp_path, clock)
    adopt_all(queue)
    assert queue.dropped() == {}
    assert take(queue, "logs") == [9]
    assert sorted(take(queue)) == [0, 1, 2]


def test_own_order_survives_a_clock_set_back(tmp_path: Path) -> None:
    """A process's own bodies stay in order when the clock is set back while it writes."""
    clock = _Clock()
    queue = timed_spool(tmp_path, clock)
    data = b"z" * 600_000
    for number in range(20):
        queue.append("traces", body(number) + data, 1)
        clock.ahead -= 3600
    found = []
    while (batch := queue.next("traces", 1)) is not None:
        found.append(int(batch.body[:15]))
        queue.done(batch)
    assert found == list(range(20))


@pytest.mark.parametrize(("ahead", "kept"), [(0.0, True), (3 * 86400.0, False), (-50 * 365 * 86400.0, True)])
def test_age_after_a_reboot(tmp_path: Path, ahead: float, kept: bool) -> None:
    """After a reboot the wall clock says how old a segment is, unless one of the two times cannot be true."""
    clock = _Clock()
    left = timed_spool(tmp_path, clock)
    left.append("logs", body(1), 1)
    left.close()
    clock.boots += 1
    clock.ahead = ahead
    queue = timed_spool(tmp_path, clock)
    adopt_all(queue)
    assert (take(queue, "logs") == [1]) is kept
    assert queue.dropped() == ({} if kept else {("logs", "age"): 1})


def test_clock_that_was_never_set(tmp_path: Path) -> None:
    """What a board wrote in 1970, before it knew the time, is not half a century old."""
    clock = _Clock()
    clock.ahead = -clock.wall() / 1e9
    left = timed_spool(tmp_path, clock)
    left.append("logs", body(1), 1)
    left.close()
    clock.boots, clock.ahead = 2, 0.0
    queue = timed_spool(tmp_path, clock)
    adopt_all(queue)
    assert take(queue, "logs") == [1]
