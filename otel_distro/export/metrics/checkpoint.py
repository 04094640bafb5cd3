"""The latest checkpoint of the counters, in a segment that only another process sends."""

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
_RETRY_S = 1.0
_MAX_COUNT = 2**32 - 1


class CounterCheckpoint:
    """Keeps one body: what was counted since the last collection. Used by one thread at a time.

    Its segment is locked while the process lives, and is not among those that this process sends
    from. So the next start, a sibling or ``otel-distro drain`` adopts it like any other, after the
    segments with the collections before it, which are older. Without a store nothing is kept.
    """

    def __init__(self, store: SegmentStore | None) -> None:
        self._store = store
        self._segment: Segment | None = None
        self._retry_at = 0.0

    @property
    def possible(self) -> bool:
        """Whether there is a store to keep anything in."""
        return self._store is not None

    @property
    def wanted(self) -> bool:
        """Whether a body would be kept now: not without a store, nor shortly after a disk error."""
        return self.possible and time.monotonic() >= self._retry_at

    def open(self) -> None:
        """Create the segment for the first body, if it is missing and the disk has room."""
        store = self._store
        if store is not None and self._segment is None and store.has_room(FRAME_SIZE):
            with suppress(OSError):
                self._segment = store.create_segment(_SIGNAL)

    def write(self, body: bytes, count: int) -> None:
        """Replace the kept body. At any time one of the two is valid; after a disk error, none."""
        store = self._store
        if store is None:
            return
        record = Record(_SIGNAL, min(count, _MAX_COUNT), time.time_ns(), len(body), body)
        try:
            self._replace(store, record)
        except OSError:
            # Not reported: the spool reports disk errors, and the next collection has these counts.
            self._retry_at = time.monotonic() + _RETRY_S

    def _replace(self, store: SegmentStore, record: Record) -> None:
        segment = self._segment
        if segment is not None and segment.links() < 1:
            # The application closed the descriptor, or the file was deleted.
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
        """Delete the kept body: a collection has spooled it.

        The next body is written to a new segment, which is newer than the collection's.
        """
        segment, self._segment = self._segment, None
        self._remove(segment)

    def _remove(self, segment: Segment | None) -> None:
        if segment is not None and self._store is not None:
            self._store.remove_segment(segment)

    def reset_after_fork(self) -> None:
        """Start empty: the kept body is the parent's."""
        if self._segment is not None:
            self._segment.close()
        self._segment = None
