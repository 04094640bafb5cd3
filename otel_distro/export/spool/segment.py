"""One open segment and the leases on its records.

A record is *waiting* until a batch leases it, *leased* until the batch is released (waiting again)
or acknowledged, and *done* from then on. These states change only here, in :meth:`Segment.lease`,
:meth:`Segment.release`, :meth:`Segment.acknowledge` and :meth:`Segment.drop` (and in their twins of
:class:`otel_distro.export.spool.memory.MemoryBuffer` for records that are not on the disk).

On the disk only *done* is written: :meth:`Segment.acknowledge` overwrites four bytes in place when
the collector has accepted a record. That costs one small write, survives the process, needs no
second file that could disagree with this one, and works on a full disk. A process that is killed
between the collector's answer and that write sends the record once more.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from otel_distro.export.spool.format import (
    DONE,
    FRAME_SIZE,
    HEADER_SIZE,
    STATE_OFFSET,
    Header,
    is_intact,
    pack_record,
    pread,
    unpack_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from otel_distro.export.spool.format import Damage, ScannedRecord

_MAX_RUN_BYTES = 256 * 1024
_MAX_RUN_RECORDS = 16


@dataclass(frozen=True)
class Entry:
    """A segment as its directory lists it.

    A name of another format gives the file's time as ``stamp`` and an empty signal and marker.
    """

    name: str
    stamp: int
    signal: str
    marker: bytes
    size: int


class Record:
    """One encoded request: in memory (``body``) or in a segment (``segment``, ``offset``)."""

    __slots__ = ("body", "count", "done", "leased", "length", "offset", "segment", "signal", "time")

    def __init__(self, signal: str, count: int, time: int, length: int, body: bytes | None = None) -> None:
        self.signal = signal
        self.count = count
        self.time = time
        self.length = length
        self.body = body
        self.segment: Segment | None = None
        self.offset = 0
        self.leased = False
        self.done = False


class Lease(NamedTuple):
    """A leased record, and where its body was at that moment: in a segment or in memory.

    The body may move from memory to the disk while it is being sent; the lease keeps the old place.
    """

    record: Record
    segment: Segment | None
    body: bytes | None


class Segment:
    """An open segment. Not thread-safe: the spool holds its lock, except around :meth:`read`.

    Args:
        entry: The file as its directory lists it.
        descriptor: The open file, locked by this process.
        header: The file's header, None where it is damaged.
        loading: True until :meth:`add_loaded` is called: the segment is busy before.
    """

    def __init__(self, entry: Entry, descriptor: int, header: Header | None, *, loading: bool = False) -> None:
        found = os.fstat(descriptor)
        self.name = entry.name
        self.descriptor = descriptor
        self.signal = entry.signal
        self.order = (entry.stamp, entry.name)
        self.header = header or Header(entry.marker, entry.stamp, 0, b"", 0, "")
        self.size = found.st_size
        self.count = 0
        """Records in the file, whatever their state."""
        self.unacknowledged = 0
        """Records that are not done."""
        self.closed = False
        self._records: deque[Record] = deque()
        self._readers = 1 if loading else 0
        self._identity = (found.st_dev, found.st_ino)

    # Descriptor

    def links(self) -> int:
        """Return how many names the file has, -1 where the descriptor no longer refers to it.

        Programs that become daemons close every descriptor, and the next file or socket they open
        gets the same number: writing there would corrupt it. One cheap call before each use finds
        that out.
        """
        try:
            found = os.fstat(self.descriptor)
        except OSError:
            return -1
        return found.st_nlink if (found.st_dev, found.st_ino) == self._identity else -1

    def is_open(self) -> bool:
        """Return whether the descriptor still refers to this file."""
        return self.links() >= 0

    def close(self) -> None:
        """Close the file, which releases its lock, unless the descriptor now is another file's."""
        self.closed = True
        if self.is_open():
            os.close(self.descriptor)

    def mark_closed(self) -> None:
        """Note that the application has closed the descriptor."""
        self.closed = True

    # Writing

    def write_header(self) -> None:
        """Write the header. Raises ``OSError``."""
        self._write(self.header.pack(), 0)

    def append(self, record: Record) -> None:
        """Write a record behind the last one and move its body there.

        Raises:
            OSError: The disk did not accept it. No part of the record is left in the file.
        """
        data = pack_record(self.header.marker, record.signal, record.count, record.time, record.body or b"")
        offset = self.size
        self._write(data, offset)
        record.segment, record.offset, record.body = self, offset, None
        self._records.append(record)
        self.count += 1
        self.unacknowledged += 1

    def replace(self, record: Record) -> None:
        """Append a record, then mark all earlier ones as done: at every moment one of them waits.

        Raises:
            OSError: The disk did not accept it; some earlier records may still wait beside it.
        """
        earlier = list(self._records)
        self.append(record)
        for old in earlier:
            os.pwrite(self.descriptor, DONE, old.offset + STATE_OFFSET)
            old.done = True
            self.unacknowledged -= 1
        self._forget_done()

    def _write(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self.descriptor, data, offset)
        try:
            while written < len(data):
                # A disk that fills up accepts a part first and raises at the next attempt.
                written += os.pwrite(self.descriptor, data[written:], offset + written)
        except OSError:
            os.ftruncate(self.descriptor, offset)
            raise
        self.size = offset + len(data)

    # Leases

    def pending(self) -> Iterator[Record]:
        """Yield the records that are not done, in order."""
        return (record for record in self._records if not record.done)

    def lease(self, record: Record) -> Lease:
        """Lease a record. The segment is busy until :meth:`end_read`, and while the lease lasts."""
        record.leased = True
        self._readers += 1
        return Lease(record, self, None)

    def end_read(self) -> None:
        """Note that the body of a leased record has been read, or could not be."""
        self._readers -= 1

    def release(self, record: Record) -> None:
        """End the lease on a record, which waits again. Needs no lock."""
        record.leased = False

    def acknowledge(self, records: Sequence[Record]) -> None:
        """Mark records as done, in memory and in the file.

        Raises:
            OSError: A mark could not be written: a later process will send that record again.
        """
        failure: OSError | None = None
        for record in records:
            record.done = True
            record.leased = False
            if not self.closed:
                try:
                    os.pwrite(self.descriptor, DONE, record.offset + STATE_OFFSET)
                except OSError as error:
                    failure = error
        self.unacknowledged -= len(records)
        self._forget_done()
        if failure is not None:
            raise failure

    def drop(self) -> list[Record]:
        """Mark all records as done in memory, before the file is deleted, and return them."""
        dropped = list(self.pending())
        for record in dropped:
            record.done = True
        self._records.clear()
        self.unacknowledged = 0
        return dropped

    def _forget_done(self) -> None:
        while self._records and self._records[0].done:
            self._records.popleft()

    def busy(self) -> bool:
        """Return whether records of it are being read, sent or loaded."""
        return self._readers > 0 or any(record.leased for record in self.pending())

    # Loading and reuse

    def add_loaded(self, found: Iterable[ScannedRecord]) -> list[Record]:
        """Add the records that a scan of the file found, and return them; they wait."""
        records = []
        for offset, signal, items, time, length in found:
            record = Record(signal, items, time, length)
            record.segment, record.offset = self, offset
            records.append(record)
        self._records.extend(records)
        self.unacknowledged = self.count = len(records)
        self._readers -= 1
        return records

    def heal(self, damage: Damage) -> None:
        """Hide a counted damage from the next scan: cut off the tail, or mark the record as done.

        A damaged region in the middle of the file without a valid record header stays as it is.
        Raises ``OSError``.
        """
        if damage.offset + damage.length >= self.size:
            os.ftruncate(self.descriptor, damage.offset)
            self.size = damage.offset
        elif damage.signal:
            os.pwrite(self.descriptor, DONE, damage.offset + STATE_OFFSET)

    def truncate(self) -> None:
        """Free the bytes of a segment whose records are all done. Raises ``OSError``."""
        os.ftruncate(self.descriptor, HEADER_SIZE)
        self.size = HEADER_SIZE
        self.count = 0
        self._records.clear()

    # Reading

    def read(self, records: Sequence[Record]) -> list[bytes | None]:
        """Return the bodies of adjacent records, None for each that the disk has damaged.

        Raises ``OSError``.
        """
        data = pread(self.descriptor, sum(FRAME_SIZE + record.length for record in records), records[0].offset)
        bodies: list[bytes | None] = []
        offset = 0
        for record in records:
            start = offset + FRAME_SIZE
            header = unpack_record(data[offset:start])
            offset = start + record.length
            body = data[start:offset]
            bodies.append(body if is_intact(header, record.length, body) else None)
        return bodies


def read_bodies(leases: Iterable[Lease], on_yield: Callable[[], object]) -> list[bytes | None]:
    """Return the bodies of leased records in their order, None for each that the disk has damaged.

    Adjacent records are read with one call: each call releases the GIL and has to wait for it.

    Args:
        leases: The records.
        on_yield: Called after each read, to let other threads run.
    """
    bodies: list[bytes | None] = []
    for run in _runs(leases):
        segment = run[0].segment
        bodies += [run[0].body] if segment is None else _read(segment, [lease.record for lease in run])
        on_yield()
    return bodies


def _runs(leases: Iterable[Lease]) -> Iterator[list[Lease]]:
    """Yield groups of adjacent records of one file; each record in memory is a group of its own."""
    run: list[Lease] = []
    size = end = 0
    for lease in leases:
        record, segment, _ = lease
        length = FRAME_SIZE + record.length
        follows = segment is not None and run and run[-1].segment is segment and record.offset == end
        if run and not (follows and size + length <= _MAX_RUN_BYTES and len(run) < _MAX_RUN_RECORDS):
            yield run
            run, size = [], 0
        run.append(lease)
        size += length
        end = record.offset + length
    if run:
        yield run


def _read(segment: Segment, records: Sequence[Record]) -> list[bytes | None]:
    bodies: list[bytes | None] = [None] * len(records)
    with suppress(OSError):
        bodies = segment.read(records)
    if None in bodies and len(records) > 1:
        # A block that the disk cannot read loses the records in it, not their neighbours.
        return [_read(segment, [record])[0] for record in records]
    return bodies
