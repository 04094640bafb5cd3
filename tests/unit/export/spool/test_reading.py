"""Reading many bodies with few calls, and isolating what the disk has damaged."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from otel_distro.export.spool.format import FRAME_SIZE, HEADER_SIZE
from tests.support.spool_processes import LINE, body, drain, numbers, segments, spool

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.export.spool.spool import Spool

COUNT = 100
FRAME = FRAME_SIZE + LINE


def filled(home: Path) -> Spool:
    """Return a spool with the bodies of all numbers in one segment."""
    queue = spool(home)
    for number in range(COUNT):
        queue.append("traces", body(number), 1)
    return queue


def test_adjacent_records_are_read_with_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adjacent records are read together; those acknowledged in between are left out."""
    calls: list[tuple[int, int]] = []
    pread = os.pread

    def recording(descriptor: int, length: int, offset: int) -> bytes:
        calls.append((length, offset))
        return pread(descriptor, length, offset)

    queue = filled(tmp_path)
    first = queue.lease("traces", 30 * LINE)
    assert first is not None
    secondary = queue.lease("traces", 10 * LINE, secondary=True)
    assert secondary is not None
    assert numbers(secondary.body) == list(range(30, 40))
    queue.acknowledge(secondary)
    queue.release(first)
    monkeypatch.setattr(os, "pread", recording)
    assert drain(queue) == [*range(30), *range(40, COUNT)]
    assert len(calls) <= 10
    assert sum(length for length, _ in calls) == 90 * FRAME


@pytest.mark.parametrize("lost", [[0], [5, 6], [15, 16, 50], [COUNT - 1]])
def test_damaged_record_loses_no_neighbour(tmp_path: Path, lost: list[int]) -> None:
    """Changed bytes, in bodies or headers, lose only these records."""
    queue = filled(tmp_path)
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    for number in lost:
        data[HEADER_SIZE + number * FRAME + (FRAME_SIZE + 3 if number % 2 else 30)] ^= 0xFF
    path.write_bytes(data)
    assert drain(queue) == [number for number in range(COUNT) if number not in lost]
    assert queue.dropped() == {("traces", "corrupt"): len(lost)}


def test_unreadable_block_loses_only_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk cannot read a part of the file, the records beside it are still read."""
    queue = filled(tmp_path)
    bad = HEADER_SIZE + 20 * FRAME + FRAME_SIZE
    pread = os.pread

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        if offset <= bad < offset + length:
            raise OSError(errno.EIO, "the disk is old")
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert drain(queue) == [number for number in range(COUNT) if number != 20]
    assert queue.dropped() == {("traces", "corrupt"): 1}


def test_records_in_memory_come_after_those_on_disk(tmp_path: Path) -> None:
    """Records that could not be written come behind those that could."""
    queue = spool(tmp_path)
    for number in range(20):
        queue.append("traces", body(number), 1)
    queue._retry_at = float("inf")
    for number in range(20, 40):
        queue.append("traces", body(number), 1)
    assert drain(queue) == list(range(40))
