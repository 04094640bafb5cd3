"""Appended bodies come out once, in order, in this process or a later one."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_distro.export.spool.clock import Clock
from otel_distro.export.spool.inspection import inspect
from otel_distro.export.spool.spool import open_spool, spool_key
from tests.support.spool_processes import ROOT, adopt_all, body, drain, environment, folder, numbers, segments, spool

if TYPE_CHECKING:
    from pathlib import Path


def test_batches_are_oldest_first_and_come_once(tmp_path: Path) -> None:
    """Bodies come out in order, joined up to the limit, and never again once acknowledged."""
    queue = spool(tmp_path)
    for number in range(100):
        queue.append("traces", body(number), 1)
    first = queue.lease("traces", 16 * 10)
    assert first is not None
    assert (numbers(first.body), first.count) == (list(range(10)), 10)
    queue.acknowledge(first)
    assert drain(queue) == list(range(10, 100))
    assert queue.lease("traces", 1 << 20) is None


def test_unacknowledged_batch_is_delivered_again(tmp_path: Path) -> None:
    """A batch that was not acknowledged is the next one again, released or not."""
    queue = spool(tmp_path)
    for number in range(4):
        queue.append("logs", body(number), 1)
    for again in (False, True):
        batch = queue.lease("logs", 32)
        assert batch is not None
        assert numbers(batch.body) == [0, 1]
        if again:
            queue.release(batch)
    assert drain(queue, "logs") == [0, 1, 2, 3]


def test_batch_keeps_both_limits_and_holds_at_least_one_body(tmp_path: Path) -> None:
    """A batch keeps the limits of bytes and items, yet holds at least one body."""
    queue = spool(tmp_path)
    for number in range(4):
        queue.append("traces", body(number), 3)
    batch = queue.lease("traces", 1 << 20, 7)
    assert batch is not None
    assert (numbers(batch.body), batch.count) == ([0, 1], 6)
    batch = queue.lease("traces", 1, 1)
    assert batch is not None
    assert numbers(batch.body) == [0]


def test_signal_that_is_not_sent_blocks_no_other(tmp_path: Path) -> None:
    """A signal that is not acknowledged blocks no other, and the others' bytes leave the disk."""
    queue = spool(tmp_path)
    big = b"x" * 100_000
    for number in range(100):
        queue.append("traces", big, 1)
        queue.append("logs", body(number), 1)
    assert queue.lease("logs", 16) is not None
    while (batch := queue.lease("traces", 1 << 20)) is not None:
        queue.acknowledge(batch)
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 100_000
    assert drain(queue, "logs") == list(range(100))


def test_dead_letter_of_a_part_keeps_only_that_part(tmp_path: Path) -> None:
    """If a part of a body is rejected, only that is kept, with the reason, and counted."""
    queue = spool(tmp_path)
    queue.append("logs", body(1) + body(2), 2)
    batch = queue.lease("logs", 1)
    assert batch is not None
    queue.dead_letter(batch, "HTTP 413", body(2), 1)
    assert queue.dropped() == {("logs", "rejected"): 1}
    (kept,) = (folder(tmp_path) / "rejected").iterdir()
    line, rest = kept.read_bytes().split(b"\n", 1)
    assert (json.loads(line)["reason"], numbers(rest)) == ("HTTP 413", [2])
    assert queue.pending() == {}


def test_secondary_lease_gets_what_the_first_has_not_leased(tmp_path: Path) -> None:
    """A secondary lease gets what came after the first one; each ends on its own."""
    queue = spool(tmp_path)
    queue.append("logs", body(1), 1)
    first = queue.lease("logs", 1 << 20)
    queue.append("logs", body(2), 1)
    second = queue.lease("logs", 1 << 20, secondary=True)
    assert first is not None
    assert second is not None
    assert (numbers(first.body), numbers(second.body)) == ([1], [2])
    assert queue.lease("logs", 1 << 20, secondary=True) is None
    queue.acknowledge(second)
    queue.release(first)
    again = queue.lease("logs", 1 << 20, secondary=True)
    assert again is not None
    assert numbers(again.body) == [1]
    queue.acknowledge(again)
    assert queue.pending() == {}


def test_next_process_delivers_what_was_not_acknowledged(tmp_path: Path) -> None:
    """The next process delivers the unacknowledged records, and no others."""
    first = spool(tmp_path)
    for number in range(50):
        first.append("traces", body(number), 1)
    batch = first.lease("traces", 16 * 20)
    assert batch is not None
    first.acknowledge(batch)
    first.close()
    second = spool(tmp_path)
    assert second.lease("traces", 1 << 20) is None
    adopt_all(second)
    assert second.pending()["traces"][:2] == (30, 30 * 16)
    assert drain(second) == list(range(20, 50))
    second.close()
    assert segments(tmp_path) == []


def test_closed_spool_still_accepts_appends_and_acknowledgements(tmp_path: Path) -> None:
    """After close, late appends reach the next process and a leased batch can be acknowledged."""
    queue = spool(tmp_path)
    queue.append("traces", body(1), 1)
    sending = queue.lease("traces", 16)
    queue.append("logs", body(2), 1)
    queue.close()
    queue.append("traces", body(3), 1)
    queue.append("logs", body(4), 1)
    assert queue.lease("traces", 1 << 20) is None
    assert queue.adopt() == 0
    assert sending is not None
    queue.acknowledge(sending)
    queue.close()
    later = spool(tmp_path)
    adopt_all(later)
    assert (drain(later), drain(later, "logs")) == ([3], [2, 4])


def test_records_of_another_destination_are_not_adopted(tmp_path: Path) -> None:
    """Bodies for one destination are never adopted by a process that sends to another."""
    first = spool(tmp_path, "k1")
    first.append("traces", body(1), 1)
    first.close()
    other = spool(tmp_path, "k2")
    adopt_all(other)
    assert other.lease("traces", 1 << 20) is None
    assert spool_key("https://a", "t1") == spool_key("t1", "https://a") != spool_key("https://a", "t2")


def test_unused_spool_creates_no_file(tmp_path: Path) -> None:
    """A process without telemetry leaves no file, one that delivered everything no segment."""
    queue = spool(tmp_path)
    queue.adopt()
    assert queue.lease("traces", 1 << 20) is None
    queue.close()
    assert list(tmp_path.iterdir()) == []
    queue = spool(tmp_path)
    queue.append("traces", body(1), 1)
    assert drain(queue) == [1]
    queue.close()
    assert [path.name for path in folder(tmp_path).iterdir()] == ["target"]


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600 whatever the umask; the file for people has no secret."""
    before = os.umask(0)
    try:
        queue = spool(tmp_path)
        queue.append("traces", body(1), 1)
        batch = queue.lease("traces", 16)
        assert batch is not None
        queue.dead_letter(batch, "HTTP 400")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (folder(tmp_path) / "target").read_text() == "http://collector:4318\n"


@pytest.mark.parametrize("environ", [{"OTEL_DISTRO_SPOOL": "off"}, {"OTEL_DISTRO_SPOOL_MAX_BYTES": "0"}])
def test_spool_switched_off_touches_no_disk(tmp_path: Path, environ: dict[str, str]) -> None:
    """Switched off, the spool works the same in memory and touches no disk."""
    queue = open_spool({**environ, "XDG_STATE_HOME": str(tmp_path)}, "k1", "shop")
    assert not queue.durable
    for number in range(10):
        queue.append("metrics", body(number), 1)
    batch = queue.lease("metrics", 16)
    assert batch is not None
    queue.dead_letter(batch, "HTTP 400")
    assert queue.adopt() == 0
    assert drain(queue, "metrics") == list(range(1, 10))
    queue.close()
    assert list(tmp_path.iterdir()) == []


def test_segment_deleted_by_another_program_is_still_sent(tmp_path: Path) -> None:
    """If another program empties the folder, all is still sent and later records are on disk."""
    queue = spool(tmp_path)
    queue.append("traces", body(1), 1)
    for path in segments(tmp_path):
        path.unlink()
    queue.append("traces", body(2), 1)
    assert len(segments(tmp_path)) == 1
    assert drain(queue) == [1, 2]


def test_inspection_groups_what_waits_and_changes_nothing(tmp_path: Path) -> None:
    """Waiting records are listed by destination, service, signal and state, and do not change."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    assert inspect(environ) == []
    left = spool(tmp_path)
    left.append("traces", body(1) * 3, 3)
    left.close()
    queue = spool(tmp_path)
    for number in range(4):
        queue.append("logs", body(number), 2)
    batch = queue.lease("logs", 16)
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
    assert drain(queue) == [1, 1, 1] or queue.pending() == {}


def test_import_loads_neither_opentelemetry_nor_network_modules(tmp_path: Path) -> None:
    """The spool imports nothing of OpenTelemetry, no network module and no subprocess module."""
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
