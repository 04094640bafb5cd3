"""The segments that this process holds on the disk: its own and those it adopted, oldest first, within bounds.

A descriptor keeps each one locked, so only a few are held at a time; what a long outage makes beyond that is let go,
and adopted again, by this process or a sibling, when there is room. Not thread-safe: the spool holds its lock around
every call except :meth:`SegmentStore.load`.
"""

from __future__ import annotations

import errno
import os
from bisect import insort
from collections import Counter
from typing import TYPE_CHECKING

from otel_distro._runtime.diagnostics import say
from otel_distro.export.spool.dead_letters import DeadLetters, salvage
from otel_distro.export.spool.segment import (
    FRAME_SIZE,
    HEADER_SIZE,
    MAX_BODY,
    Clock,
    Entry,
    Header,
    Record,
    Segment,
    header_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_distro.export.spool.accounting import SpoolAccounting
    from otel_distro.export.spool.directory import Directory
    from otel_distro.export.spool.segment import Damage

SEGMENT_BYTES = 4 * 1024 * 1024
SMALL_BYTES = 256 * 1024
SEGMENT_RECORDS = 4096
HELD_SEGMENTS = 8
"""Full or adopted segments of one signal that are held, and their descriptors open, at a time."""

_ADOPTED_BYTES = 8 * 1024 * 1024
_REWIND_BYTES = 256 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


class SegmentStore:
    """Writes records into segments and hands out those that wait. ``limit`` is in bytes, ``age`` in seconds."""

    def __init__(
        self,
        directory: Directory,
        service: str,
        ledger: SpoolAccounting,
        clock: Clock,
        *,
        limit: int,
        age: float,
        durable: bool,
    ) -> None:
        self.directory = directory
        self.rejects = DeadLetters(directory, service, clock, limit // 8)
        self.longest = min(MAX_BODY, limit - FRAME_SIZE - 2 * HEADER_SIZE)
        """Bytes of the longest body that fits."""
        self._more: set[str] = set()
        self._away: dict[str, Counter[tuple[str, str]]] = {}
        self._service = service
        self._ledger = ledger
        self._clock = clock
        self._limit = limit
        self._durable = durable
        self._segment_bytes = min(SEGMENT_BYTES, limit // 16)
        self.small = min(SMALL_BYTES, limit // 16)
        """Bytes that a file may grow to that is kept beside those that are sent from."""
        self._span = min(3600.0, age / 16)
        # A segment is as old as its first record, so its last one may be that much younger.
        self._oldest = age + self._span
        self._segments: list[Segment] = []
        self._active: dict[str, Segment] = {}
        self._total = 0
        self._stamp = 0

    def store(self, record: Record) -> None:
        """Write a record that is in memory. Raises ``OSError`` where the disk does not take it."""
        need = FRAME_SIZE + record.length
        if self._total + need > self._limit:
            self._make_room(need)
        segment = self._writable(record.signal, need)
        try:
            segment.append(record)
        except OSError as error:
            if error.errno in _FULL:
                raise
            self._retire(segment)
            if error.errno != errno.EFBIG or not segment.records:
                raise
            # A limit on the size of files (RLIMIT_FSIZE), not on their number.
            self._writable(record.signal, need).append(record)
        self._total += need
        if self._durable and record.segment is not None:
            try:
                os.fsync(record.segment.descriptor)
            except OSError as error:
                say(f"{self.directory.path} cannot be written through to the disk: {error}", cause="fsync")

    def _writable(self, signal: str, need: int) -> Segment:
        segment = self._active.get(signal)
        if segment is None:
            return self._create(signal)
        names = segment.names()
        full = segment.records and segment.size + need > self._segment_bytes
        if names < 0:
            self._forget(segment)
        elif full or not names or segment.records >= SEGMENT_RECORDS or segment.header.age(self._clock) > self._span:
            self._retire(segment)
        else:
            return segment
        return self._create(signal)

    def has_room(self, need: int) -> bool:
        """Return whether ``need`` bytes fit without dropping anything."""
        return self._total + need + HEADER_SIZE <= self._limit

    def begin(self, signal: str) -> Segment:
        """Make a segment, locked and not yet among those whose records are handed out. Raises ``OSError``."""
        # Own segments stay in order when the wall clock is set back.
        self._stamp = max(self._clock.wall(), self._stamp + 1)
        entry, descriptor = self.directory.create(self._stamp, signal, durable=self._durable)
        clock = self._clock
        header = Header(entry.marker, self._stamp, os.getpid(), clock.boot(), clock.uptime(), self._service)
        segment = Segment(entry, descriptor, header)
        try:
            segment.begin()
        except OSError:
            self._discard(segment)
            raise
        return segment

    def _create(self, signal: str) -> Segment:
        segment = self.begin(signal)
        try:
            self._total = sum(other.size for other in self.directory.segments())
        except OSError:
            self._discard(segment)
            raise
        insort(self._segments, segment, key=lambda other: other.order)
        self._active[signal] = segment
        return segment

    def _retire(self, segment: Segment) -> None:
        """Write no more into a segment."""
        del self._active[segment.signal]
        if not segment.left:
            self._discard(segment)
        elif segment.signal in self._more and not segment.busy():
            # Older ones have been let go; they are to be adopted before this one is sent.
            self._let_go(segment)
        else:
            self._shed()

    def records(self, signal: str) -> Iterator[Record]:
        """Yield the records of a signal that wait, oldest first."""
        for segment in list(self._segments):
            if not segment.left:
                continue
            if not segment.intact():
                self._forget(segment)
                continue
            for record in segment.waiting:
                if record.signal == signal and not record.done:
                    yield record

    def oldest(self, signal: str) -> float:
        """Return the Unix time of the oldest record of a signal, 0 where none is here."""
        record = next(self.records(signal), None)
        if record is not None:
            return record.time / 1e9
        names = [name for name, away in self._away.items() if away[signal, "items"]]
        return int(min(names).partition("-")[0]) / 1e9 if names else 0.0

    def finish(self, records: Iterable[Record]) -> None:
        """Note on the disk that records are done, and delete the segments of which nothing is left."""
        touched: dict[Segment, None] = {}
        for record in records:
            segment = record.segment
            if segment is None or segment.gone:
                continue
            if segment not in touched and not segment.intact():
                self._forget(segment)
                continue
            touched[segment] = None
            segment.left -= 1
            try:
                segment.mark(record)
            except OSError as error:
                say(
                    f"cannot note in {self.directory.path} what was delivered ({error}); it may be sent twice",
                    cause="mark",
                )
        for segment in touched:
            segment.forget_done()
            if not segment.left:
                self._empty(segment)

    def _empty(self, segment: Segment) -> None:
        if self._active.get(segment.signal) is not segment:
            self._discard(segment)
        elif segment.size > _REWIND_BYTES or segment.size > self._segment_bytes // 2:
            size = segment.size
            try:
                segment.rewind()
            except OSError:
                return
            self._total -= size - segment.size

    def short_of(self, signal: str) -> bool:
        """Return whether older orphans wait in the directory than what is at hand of a signal."""
        return signal in self._more and not any(
            segment.left and segment.signal == signal and self._active.get(signal) is not segment
            for segment in list(self._segments)
        )

    def choose(self) -> list[Segment]:
        """Take orphans, oldest first, as many as may be held; each must be given to :meth:`load` and :meth:`keep`.

        Raises ``OSError``.
        """
        self._more.clear()
        entries = self.directory.segments()
        self._total = sum(entry.size for entry in entries)
        self._miss({entry.name for entry in entries})
        held = {segment.name for segment in self._segments}
        counts = Counter(s.signal for s in self._segments if self._active.get(s.signal) is not s)
        budget = _ADOPTED_BYTES
        taken: list[Segment] = []
        strangers = [entry for entry in entries if entry.name not in held]
        if not strangers:
            return taken
        folder = self.directory.open()
        try:
            for entry in strangers:
                if counts[entry.signal] >= HELD_SEGMENTS or budget <= 0:
                    self._more.add(entry.signal)
                    if len(taken) > 4 * HELD_SEGMENTS or self._clock.wall() - entry.stamp < self._oldest * 1e9:
                        continue
                segment = self._take(entry, folder)
                if segment is not None:
                    counts[entry.signal] += 1
                    budget -= entry.size
                    taken.append(segment)
        finally:
            os.close(folder)
        return taken

    def _take(self, entry: Entry, folder: int) -> Segment | None:
        descriptor = self.directory.take(entry, folder)
        # Let go by us or not, it is now somebody else's or newly ours.
        self._ledger.settle(self._away.pop(entry.name, Counter()))
        if descriptor is None:
            return None
        try:
            segment = Segment(entry, descriptor, header_of(descriptor))
        except OSError:
            os.close(descriptor)
            return None
        # Until it is loaded nobody may think that it is empty.
        segment.reading = 1
        insort(self._segments, segment, key=lambda other: other.order)
        return segment

    def load(self, segment: Segment) -> tuple[list[Record], list[Damage]]:
        """Read what a segment holds; without the lock, it may take a while."""
        return salvage(segment, self.rejects)

    def keep(self, segment: Segment, records: list[Record], damages: list[Damage]) -> None:
        """Put a segment that was loaded in its place."""
        segment.reading -= 1
        for damage in damages:
            self._ledger.lose(damage.signal, damage.count, "corrupt")
        segment.hold(records)
        for record in records:
            self._ledger.add(record)
        if not records:
            self._discard(segment)

    def tidy(self) -> None:
        """Drop what is too old, and let go what is more than may be held."""
        for segment in list(self._segments):
            if segment.header.age(self._clock) > self._oldest and not segment.busy():
                self._drop(segment, "age")
        self._shed()

    def _shed(self) -> None:
        counts: Counter[str] = Counter()
        for segment in list(self._segments):
            if self._active.get(segment.signal) is segment:
                continue
            counts[segment.signal] += 1
            if counts[segment.signal] > HELD_SEGMENTS and not segment.busy():
                self._let_go(segment)

    def _make_room(self, need: int) -> None:
        """Drop the oldest segments of ours and of nobody until ``need`` bytes fit. Raises ``OSError``."""
        entries = self.directory.segments()
        self._miss({entry.name for entry in entries})
        held = {segment.name: segment for segment in self._segments}
        active = [held[entry.name] for entry in entries if held.get(entry.name) in self._active.values()]
        self._total = sum(entry.size for entry in entries)
        folder = self.directory.open()
        try:
            for entry in entries:
                if self._total + need + HEADER_SIZE <= self._limit:
                    return
                segment = held.get(entry.name)
                if segment is None:
                    segment = self._take(entry, folder)
                    if segment is not None:
                        self.keep(segment, *self.load(segment))
                if segment is not None and segment not in active and not segment.gone and not segment.busy():
                    self._drop(segment, "size")
        finally:
            os.close(folder)
        for segment in active:
            if self._total + need + HEADER_SIZE > self._limit and not segment.busy():
                self._drop(segment, "size")
        if self._total + need > self._limit:
            raise OSError(errno.EDQUOT, "other processes fill OTEL_DISTRO_SPOOL_MAX_BYTES")

    def _drop(self, segment: Segment, reason: str) -> None:
        lost: Counter[str] = Counter()
        for record in segment.waiting:
            if not record.done:
                record.done = True
                self._ledger.remove(record)
                lost[record.signal] += record.count
        for signal, count in lost.items():
            self._ledger.lose(signal, count, reason)
        segment.left = 0
        self._discard(segment)

    def _discard(self, segment: Segment) -> None:
        """Delete a segment of which nothing is left; in this order, so that nobody adopts it in between."""
        try:
            self.directory.remove(segment.name)
            self._total -= segment.size
        except OSError as error:
            say(f"cannot delete {self.directory.path}/{segment.name}: {error}", cause="remove")
        self._off(segment)
        segment.close()

    def _let_go(self, segment: Segment) -> None:
        """Give a segment up to whoever adopts it. Until somebody does, what is in it still counts as ours."""
        self._more.add(segment.signal)
        away: Counter[tuple[str, str]] = Counter()
        for record in segment.waiting:
            if not record.done:
                away[record.signal, "items"] += record.count
                away[record.signal, "bytes"] += record.length
        self._away[segment.name] = away
        self._off(segment)
        segment.close()

    def _miss(self, names: set[str]) -> None:
        """Count no longer what was let go and is gone meanwhile."""
        for name in [name for name in self._away if name not in names]:
            self._ledger.settle(self._away.pop(name))

    def _forget(self, segment: Segment) -> None:
        """Strike a segment off whose descriptor is no longer ours to use."""
        segment.gone = True
        self._more.add(segment.signal)
        for record in segment.waiting:
            if not record.done:
                self._ledger.remove(record)
        self._off(segment)

    def _off(self, segment: Segment) -> None:
        if self._active.get(segment.signal) is segment:
            del self._active[segment.signal]
        if segment in self._segments:
            self._segments.remove(segment)

    def close(self) -> None:
        """Leave what waits to the next process. What is being sent stays ours until the process ends."""
        for segment in list(self._segments):
            if segment.busy():
                continue
            if segment.left:
                self._let_go(segment)
            else:
                self._discard(segment)
        self._miss(set())

    def abandon(self) -> None:
        """Forget all segments, in a forked child: the parent's lock lives as long as any descriptor of it."""
        for segment in self._segments:
            segment.close()
        self._segments = []
        self._active = {}
        self._total = 0
        self._more.clear()
        self._away.clear()
