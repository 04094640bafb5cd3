"""What is appended comes out once, in order, also in a later process, and within bounds."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_distro.export.spool.inspection import inspect
from otel_distro.export.spool.segment import Clock
from otel_distro.export.spool.spool import open_spool, spool_key
from tests.support.spool_processes import ROOT, adopt_all, body, environment, folder, numbers, segments, spool, take

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


def test_part_set_aside(tmp_path: Path) -> None:
    """Of a single body the part that is to blame can be named; only that is kept, with the reason, and counts as rejected."""
    queue = spool(tmp_path)
    queue.append("logs", body(1) + body(2), 2)
    batch = queue.next("logs", 1)
    assert batch is not None
    queue.dead_letter(batch, "HTTP 413", body(2), 1)
    assert queue.dropped() == {("logs", "rejected"): 1}
    (kept,) = (folder(tmp_path) / "rejected").iterdir()
    line, rest = kept.read_bytes().split(b"\n", 1)
    assert (json.loads(line)["reason"], numbers(rest)) == ("HTTP 413", [2])
    assert queue.pending() == {}


def test_second_taker(tmp_path: Path) -> None:
    """While a batch is out, a second taker gets what came after it; each of them is acknowledged or given back alone."""
    queue = spool(tmp_path)
    queue.append("logs", body(1), 1)
    first = queue.next("logs", 1 << 20)
    queue.append("logs", body(2), 1)
    second = queue.next("logs", 1 << 20, beside=True)
    assert first is not None
    assert second is not None
    assert (numbers(first.body), numbers(second.body)) == ([1], [2])
    assert queue.next("logs", 1 << 20, beside=True) is None
    queue.done(second)
    queue.put_back(first)
    again = queue.next("logs", 1 << 20, beside=True)
    assert again is not None
    assert numbers(again.body) == [1]
    queue.done(again)
    assert queue.pending() == {}


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


def test_end_of_a_process(tmp_path: Path) -> None:
    """After closing nothing is sent any more; what is appended late and what was being sent still ends well."""
    queue = spool(tmp_path)
    queue.append("traces", body(1), 1)
    sending = queue.next("traces", 16)
    queue.append("logs", body(2), 1)
    queue.close()
    queue.append("traces", body(3), 1)
    queue.append("logs", body(4), 1)
    assert queue.next("traces", 1 << 20) is None
    assert queue.adopt() == 0
    assert sending is not None
    queue.done(sending)
    queue.close()
    later = spool(tmp_path)
    adopt_all(later)
    assert (take(later), take(later, "logs")) == ([3], [2, 4])


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
    queue = spool(tmp_path)
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
        queue.dead_letter(batch, "HTTP 400")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (folder(tmp_path) / "target").read_text() == "http://collector:4318\n"


@pytest.mark.parametrize("environ", [{"OTEL_DISTRO_SPOOL": "off"}, {"OTEL_DISTRO_SPOOL_MAX_BYTES": "0"}])
def test_off_is_memory_only(tmp_path: Path, environ: dict[str, str]) -> None:
    """Switched off, the spool works the same and touches no disk."""
    queue = open_spool({**environ, "XDG_STATE_HOME": str(tmp_path)}, "k1", "shop")
    assert not queue.durable
    for number in range(10):
        queue.append("metrics", body(number), 1)
    batch = queue.next("metrics", 16)
    assert batch is not None
    queue.dead_letter(batch, "HTTP 400")
    assert queue.adopt() == 0
    assert take(queue, "metrics") == list(range(1, 10))
    queue.close()
    assert list(tmp_path.iterdir()) == []


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
    queue.dead_letter(batch, "HTTP 400 Bad Request")
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
    script = "import sys, otel_distro.export.spool.spool; print(*sys.modules)"
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
