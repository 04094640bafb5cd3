"""What was counted since the last collection of metrics, in a segment that only another process sends, after a kill."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from otel_distro.export.spool.format import FRAME_SIZE
from otel_distro.export.spool.segment import Record

if TYPE_CHECKING:
    from otel_distro.export.spool.segment import Segment
    from otel_distro.export.spool.store import SegmentStore

_SIGNAL = "metrics"
_RETRY = 1.0


class CounterCheckpoint:
    """Keeps one body, the newest. Used by one thread at a time; without a shelf it keeps nothing.

    The segment is locked as long as the process lives, and not among those it sends from: so the next start, a sibling or
    ``otel-distro drain`` adopts it as any other, after the segments with the collections before it, which are older.
    """

    def __init__(self, store: SegmentStore | None) -> None:
        self._shelf = store
        self._segment: Segment | None = None
        self._retry_at = 0.0

    @property
    def possible(self) -> bool:
        """Whether there is a spool to keep anything in."""
        return self._shelf is not None

    @property
    def wanted(self) -> bool:
        """Whether a body would be kept now: not without a spool, nor shortly after the disk refused one."""
        return self.possible and time.monotonic() >= self._retry_at

    def prepare(self) -> None:
        """Make the segment for the first body, unless there is one or the disk has no room for it."""
        store = self._shelf
        if store is not None and self._segment is None and store.has_room(FRAME_SIZE):
            with suppress(OSError):
                self._segment = store.create_segment(_SIGNAL)

    def keep(self, body: bytes, count: int) -> None:
        """Keep this body in place of the last one, at every moment one of them. Where the disk refuses, neither is."""
        store = self._shelf
        if store is None:
            return
        record = Record(_SIGNAL, min(count, 2**32 - 1), time.time_ns(), len(body), body)
        try:
            self._write(store, record)
        except OSError:
            # What is spooled is told about a disk that fails; these are kept by the next collection all the same.
            self._retry_at = time.monotonic() + _RETRY

    def _write(self, store: SegmentStore, record: Record) -> None:
        segment = self._segment
        if segment is not None and segment.links() < 1:
            # Somebody closed the descriptor, or deleted the file.
            segment.close()
            self._segment = segment = None
        if segment is not None and segment.size + record.length < store.checkpoint_bytes:
            segment.replace(record)
        else:
            if not store.has_room(FRAME_SIZE + record.length):
                raise OSError("the spool is full")
            old, self._segment = segment, store.create_segment(_SIGNAL)
            try:
                self._segment.append(record)
            finally:
                self._remove(old)

    def drop(self) -> None:
        """Forget what is kept: a collection has told it. The next body comes into a new segment, newer than that one's."""
        segment, self._segment = self._segment, None
        self._remove(segment)

    def _remove(self, segment: Segment | None) -> None:
        if segment is not None and self._shelf is not None:
            self._shelf.remove_segment(segment)

    def forget(self) -> None:
        """Start empty in a forked child: what is kept is its parent's."""
        if self._segment is not None:
            self._segment.close()
        self._segment = None
