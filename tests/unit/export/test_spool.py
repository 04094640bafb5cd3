"""What is appended comes out once, in order, also in a later process, and within bounds."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_distro.export import spool as spool_module
from otel_distro.export.spool import open_spool, spool_key
from otel_distro.export.spool_inspection import inspect
from otel_distro.export.spool_segment import Clock
from tests.unit.export.spool_work import (
    ROOT,
    adopt_all,
    body,
    environment,
    folder,
    numbers,
    segments,
    spool,
    take,
    timed_spool,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_oldest_first_joined_and_once(tmp_path: Path) -> None:
    """Bodies come out in the order they were appended, joined up to the bound, and never again once acknowledged."""
    queue = spool(tmp_path)
    for number in range(100):
        queue.append("traces", body(number), 1)
    first = queue.next("traces", 16 * 10)
    assert first is not None
    assert (numbers(first.body), first.count) == (list(range(10)), 10)
    queue.done(first)
    assert take(queue) == list(range(10, 100))
    assert queue.next("traces", 1 << 20) is None


def test_unacknowledged_comes_again(tmp_path: Path) -> None:
    """A batch that was not acknowledged is the next one again, put back or not."""
    queue = spool(tmp_path)
    for number in range(4):
        queue.append("logs", body(number), 1)
    for again in (False, True):
        batch = queue.next("logs", 32)
        assert batch is not None
        assert numbers(batch.body) == [0, 1]
        if again:
            queue.put_back(batch)
    assert take(queue, "logs") == [0, 1, 2, 3]


def test_bounds_of_a_batch(tmp_path: Path) -> None:
    """A batch keeps both bounds, yet holds at least one body."""
    queue = spool(tmp_path)
    for number in range(4):
        queue.append("traces", body(number), 3)
    batch = queue.next("traces", 1 << 20, 7)
    assert batch is not None
    assert (numbers(batch.body), batch.count) == ([0, 1], 6)
    batch = queue.next("traces", 1, 1)
    assert batch is not None
    assert numbers(batch.body) == [0]


def test_signals_are_independent(tmp_path: Path) -> None:
    """A signal that nobody takes blocks no other, and the others' bytes leave the disk."""
    queue = spool(tmp_path)
    big = b"x" * 100_000
    for number in range(100):
        queue.append("traces", big, 1)
        queue.append("logs", body(number), 1)
    assert queue.next("logs", 16) is not None
    while (batch := queue.next("traces", 1 << 20)) is not None:
        queue.done(batch)
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 100_000
    assert take(queue, "logs") == list(range(100))


def test_bisecting(tmp_path: Path) -> None:
    """A refused batch is halved down to the body to blame: the rest is delivered, that one kept with the reason."""
    queue = spool(tmp_path)
    for number in range(7):
        queue.append("traces", body(number), 1)
    whole = queue.next("traces", 1 << 20)
    assert whole is not None
    delivered: list[int] = []
    parts = [whole]
    while parts:
        part = parts.pop(0)
        halves = part.halves()
        if 3 not in numbers(part.body):
            delivered += numbers(part.body)
            queue.done(part)
        elif halves:
            parts = [*halves, *parts]
        else:
            queue.set_aside(part, "HTTP 400 Bad Request")
    assert delivered == [0, 1, 2, 4, 5, 6]
    assert queue.next("traces", 1 << 20) is None
    assert queue.dropped() == {("traces", "rejected"): 1}
    (kept,) = (folder(tmp_path) / "rejected").iterdir()
    line, rest = kept.read_bytes().split(b"\n", 1)
    assert json.loads(line)["reason"] == "HTTP 400 Bad Request"
    assert numbers(rest) == [3]
    queue.close()
    assert segments(tmp_path) == []


def test_part_set_aside(tmp_path: Path) -> None:
    """Of a single body the part that is to blame can be named; only its items count as rejected."""
    queue = spool(tmp_path)
    queue.append("logs", body(1) + body(2), 2)
    batch = queue.next("logs", 1)
    assert batch is not None
    assert batch.halves() is None
    queue.set_aside(batch, "HTTP 413", body(2), 1)
    assert queue.dropped() == {("logs", "rejected"): 1}
    assert queue.pending() == {}


def test_rejected_is_bounded(tmp_path: Path) -> None:
    """Rejected bodies never take more than an eighth of the limit; the newest stay."""
    queue = spool(tmp_path, bytes=800_000)
    for number in range(30):
        queue.append("logs", b"%09d" % number + b"y" * 20_000, 1)
        batch = queue.next("logs", 1 << 20)
        assert batch is not None
        queue.set_aside(batch, "HTTP 422")
    kept = sorted((folder(tmp_path) / "rejected").iterdir())
    assert 80_000 < sum(path.stat().st_size for path in kept) <= 100_000
    assert kept[-1].read_bytes().split(b"\n", 1)[1].startswith(b"%09d" % 29)
    assert queue.dropped() == {("logs", "rejected"): 30}


def test_next_process_delivers(tmp_path: Path) -> None:
    """What a process leaves at its end the next one delivers, but not what was acknowledged."""
    first = spool(tmp_path)
    for number in range(50):
        first.append("traces", body(number), 1)
    batch = first.next("traces", 16 * 20)
    assert batch is not None
    first.done(batch)
    first.close()
    second = spool(tmp_path)
    assert second.next("traces", 1 << 20) is None
    adopt_all(second)
    assert second.pending()["traces"][:2] == (30, 30 * 16)
    assert take(second) == list(range(20, 50))
    second.close()
    assert segments(tmp_path) == []


def test_other_destination_is_left_alone(tmp_path: Path) -> None:
    """Bodies for one destination are never taken by a process that sends to another."""
    first = spool(tmp_path, "k1")
    first.append("traces", body(1), 1)
    first.close()
    other = spool(tmp_path, "k2")
    adopt_all(other)
    assert other.next("traces", 1 << 20) is None
    assert spool_key("https://a", "t1") == spool_key("t1", "https://a") != spool_key("https://a", "t2")


def test_nothing_on_disk_before_the_first_append(tmp_path: Path) -> None:
    """A process that has nothing to tell leaves no trace; one that delivered everything leaves no segment."""
    queue = spool(tmp_path)
    queue.adopt()
    assert queue.next("traces", 1 << 20) is None
    queue.close()
    assert list(tmp_path.iterdir()) == []
    queue.append("traces", body(1), 1)
    assert take(queue) == [1]
    queue.close()
    assert [path.name for path in folder(tmp_path).iterdir()] == ["target"]


def test_only_the_user_can_read(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600 whatever the umask, and the file for people names no secret."""
    before = os.umask(0)
    try:
        queue = spool(tmp_path)
        queue.append("traces", body(1), 1)
        batch = queue.next("traces", 16)
        assert batch is not None
        queue.set_aside(batch, "HTTP 400")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (folder(tmp_path) / "target").read_text() == "http://collector:4318\n"


@pytest.mark.parametrize("environ", [{"OTEL_DISTRO_SPOOL": "off"}, {"OTEL_DISTRO_SPOOL_BYTES": "0"}])
def test_off_is_memory_only(tmp_path: Path, environ: dict[str, str]) -> None:
    """Switched off, the spool works the same and touches no disk."""
    queue = open_spool({**environ, "XDG_STATE_HOME": str(tmp_path)}, "k1", "shop")
    assert not queue.durable
    for number in range(10):
        queue.append("metrics", body(number), 1)
    batch = queue.next("metrics", 16)
    assert batch is not None
    queue.set_aside(batch, "HTTP 400")
    assert queue.adopt() == 0
    assert take(queue, "metrics") == list(range(1, 10))
    queue.close()
    assert list(tmp_path.iterdir()) == []


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
    queue = spool(tmp_path, bytes=limit)
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
    first = spool(tmp_path, bytes=100_000)
    for _ in range(80):
        first.append("traces", b"a" * 1000, 1)
    first.close()
    second = spool(tmp_path, bytes=100_000)
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
    queue = spool(tmp_path, bytes=10_000)
    queue.append("traces", b"x" * 10_000, 5)
    queue.append("traces", body(2), 1)
    assert take(queue) == [2]
    assert queue.dropped() == {("traces", "size"): 5}


def test_few_descriptors_in_a_long_outage(tmp_path: Path) -> None:
    """However long the outage, few files are open, and everything comes out in order when it ends."""
    queue = spool(tmp_path, bytes=4_000_000)
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
    queue = timed_spool(tmp_path, clock)
    for number in range(3):
        queue.append("traces", body(number), 1)
        queue.close()
        clock.ahead += jump
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


def test_segment_deleted_by_somebody(tmp_path: Path) -> None:
    """When somebody empties the folder under us, all is still sent, and what follows is on the disk again."""
    queue = spool(tmp_path)
    queue.append("traces", body(1), 1)
    for path in segments(tmp_path):
        path.unlink()
    queue.append("traces", body(2), 1)
    assert len(segments(tmp_path)) == 1
    assert take(queue) == [1, 2]


def test_inspection(tmp_path: Path) -> None:
    """What waits is told by destination, service, signal and state, and stays exactly as it was."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    assert inspect(environ) == []
    left = spool(tmp_path)
    left.append("traces", body(1) * 3, 3)
    left.close()
    queue = spool(tmp_path)
    for number in range(4):
        queue.append("logs", body(number), 2)
    batch = queue.next("logs", 16)
    assert batch is not None
    queue.set_aside(batch, "HTTP 400 Bad Request")
    other = spool(tmp_path, "k2")
    other.append("metrics", body(5), 1)
    found = {(b.key, b.signal, b.state, b.reason): b for b in inspect(environ)}
    assert {group: (b.items, b.bytes) for group, b in found.items()} == {
        ("k1", "traces", "waiting", ""): (3, 48),
        ("k1", "logs", "held", ""): (6, 48),
        ("k1", "logs", "rejected", "HTTP 400 Bad Request"): (2, 16),
        ("k2", "metrics", "held", ""): (1, 16),
    }
    assert {(b.service, b.targets) for b in found.values()} == {("shop", ("http://collector:4318",))}
    now = Clock().wall() / 1e9
    assert all(now - 3600 < b.oldest <= now + 1 for b in found.values())
    adopt_all(queue)
    assert take(queue) == [1, 1, 1] or queue.pending() == {}


def test_import_is_light(tmp_path: Path) -> None:
    """The spool needs nothing of OpenTelemetry, no network and no subprocess module."""
    script = "import sys, otel_distro.export.spool; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment(tmp_path), cwd=ROOT, capture_output=True, check=True
    )
    heavy = {
        "opentelemetry",
        "http",
        "ssl",
        "socket",
        "subprocess",
        "hashlib",
        "json",
        "threading",
        "logging",
        "asyncio",
    }
    assert heavy & {name.split(".")[0] for name in done.stdout.decode().split()} == set()
