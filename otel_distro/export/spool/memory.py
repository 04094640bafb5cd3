"""Records that wait in memory because the disk does not accept them, or no spool is configured."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from otel_distro.export.spool.segment import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_distro.export.spool.segment import Record


class MemoryBuffer:
    """Bodies in memory, by signal, oldest first. Not thread-safe: the spool holds its lock."""

    def __init__(self) -> None:
        self.bytes = 0
        """Bytes of all bodies."""
        self._queues: dict[str, deque[Record]] = {}

    def append(self, record: Record) -> None:
        """Add a record behind the others of its signal."""
        self._queues.setdefault(record.signal, deque()).append(record)
        self.bytes += record.length

    def records(self, signal: str) -> Iterable[Record]:
        """Return the records of a signal in order; some may be done or leased."""
        return self._queues.get(signal, ())

    def lease(self, record: Record) -> Lease:
        """Lease a record."""
        record.leased = True
        return Lease(record, None, record.body)

    def release(self, record: Record) -> None:
        """End the lease on a record, which waits again."""
        record.leased = False

    def acknowledge(self, record: Record) -> None:
        """Mark a record as done and free its body."""
        record.done = True
        record.leased = False
        record.body = None
        self.bytes -= record.length
        for queue in self._queues.values():
            while queue and queue[0].done:
                queue.popleft()

    def oldest(self) -> Record | None:
        """Return the oldest record of all signals that is neither leased nor done."""
        candidates = (next((r for r in queue if not r.done and not r.leased), None) for queue in self._queues.values())
        return min((record for record in candidates if record is not None), key=lambda r: r.time, default=None)

    def move(self, write: Callable[[Record], object], budget: int) -> bool:
        """Pass records to ``write``, in order, until ``budget`` bytes have moved.

        Returns whether any has moved.
        What ``write`` raises is passed on; the record it raised for stays here.
        """
        moved = False
        for queue in self._queues.values():
            while queue and budget > 0:
                record = queue[0]
                if not record.done:
                    write(record)
                    moved = True
                    self.bytes -= record.length
                    budget -= record.length
                queue.popleft()
        return moved
