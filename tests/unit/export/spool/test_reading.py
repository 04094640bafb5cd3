"""Many bodies read with few calls are the same bodies, and what the disk has lost of one costs no other."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from otel_distro.export.spool.format import FRAME_SIZE, HEADER_SIZE
from tests.support.spool_processes import LINE, body, numbers, segments, spool, take

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.export.spool.spool import Spool

COUNT = 100
FRAME = FRAME_SIZE + LINE


def filled(home: Path) -> Spool:
    """Return a spool with bodies of all numbers in one file."""
    queue = spool(home)
    for number in range(COUNT):
        queue.append("traces", body(number), 1)
    return queue


def test_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies one behind the other is read together; what was delivered in between is left out."""
    calls: list[tuple[int, int]] = []
    pread = os.pread

    def noted(descriptor: int, length: int, offset: int) -> bytes:
        calls.append((length, offset))
        return pread(descriptor, length, offset)

    queue = filled(tmp_path)
    first = queue.lease("traces", 30 * LINE)
    assert first is not None
    beside = queue.lease("traces", 10 * LINE, secondary=True)
    assert beside is not None
    assert numbers(beside.body) == list(range(30, 40))
    queue.acknowledge(beside)
    queue.release(first)
    monkeypatch.setattr(os, "pread", noted)
    assert take(queue) == [*range(30), *range(40, COUNT)]
    assert len(calls) <= 10
    assert sum(length for length, _ in calls) == 90 * FRAME


@pytest.mark.parametrize("lost", [[0], [5, 6], [15, 16, 50], [COUNT - 1]])
def test_what_is_damaged_costs_itself(tmp_path: Path, lost: list[int]) -> None:
    """Bytes that somebody has changed, in bodies or headers, cost these records."""
    queue = filled(tmp_path)
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    for number in lost:
        data[HEADER_SIZE + number * FRAME + (FRAME_SIZE + 3 if number % 2 else 30)] ^= 0xFF
    path.write_bytes(data)
    assert take(queue) == [number for number in range(COUNT) if number not in lost]
    assert queue.dropped() == {("traces", "corrupt"): len(lost)}


def test_a_block_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses a part of the file, what lies beside it is read all the same."""
    queue = filled(tmp_path)
    bad = HEADER_SIZE + 20 * FRAME + FRAME_SIZE
    pread = os.pread

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        if offset <= bad < offset + length:
            raise OSError(errno.EIO, "the disk is old")
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert take(queue) == [number for number in range(COUNT) if number != 20]
    assert queue.dropped() == {("traces", "corrupt"): 1}


def test_disk_and_memory(tmp_path: Path) -> None:
    """What could not be written comes behind what could."""
    queue = spool(tmp_path)
    for number in range(20):
        queue.append("traces", body(number), 1)
    queue._retry_at = float("inf")
    for number in range(20, 40):
        queue.append("traces", body(number), 1)
    assert take(queue) == list(range(40))
