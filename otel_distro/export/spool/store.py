"""The segments on the disk that this process owns: its own and adopted ones, oldest first, bounded.

An open descriptor keeps each segment locked, so only a few are held at a time. What a long outage
makes beyond that is released, and adopted again, by this process or a sibling, when there is room.
Not thread-safe: the spool holds its lock around every call except :meth:`SegmentStore.load`.
"""

from __future__ import annotations

import errno
import os
from bisect import insort
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from otel_distro import settings
from otel_distro._runtime.diagnostics import say
from otel_distro.export.spool.accounting import ReleasedSegments
from otel_distro.export.spool.dead_letters import DeadLetters, salvage
from otel_distro.export.spool.format import FRAME_SIZE, HEADER_SIZE, MAX_BODY_BYTES, Header, read_header
from otel_distro.export.spool.segment import Entry, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_distro.export.spool.accounting import SpoolAccounting
    from otel_distro.export.spool.clock import Clock
    from otel_distro.export.spool.directory import Directory
    from otel_distro.export.spool.format import Damage, ScannedRecord
    from otel_distro.export.spool.segment import Record

SEGMENT_BYTES = 4 * 1024 * 1024
CHECKPOINT_BYTES = 256 * 1024
SEGMENT_RECORDS = 4096
HELD_SEGMENTS = 8
"""Full or adopted segments of one signal that are held, and their descriptors open, at a time."""

_ADOPTED_BYTES = 8 * 1024 * 1024
_TRUNCATE_BYTES = 256 * 1024
_MAX_SPAN_S = 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class SegmentStore:
    """Writes records into segments and returns those that wait for delivery.

    Args:
        directory: The folder of the destination.
        service: The service that writes the segments.
        accounting: Is kept up to date about what waits and what was lost.
        clock: Gives times and ages.
        limit: Bytes that the segments of all processes together may take.
        age: Seconds after which a record is dropped.
        durable: Whether each write waits for the disk itself (``fsync``).
    """

    def __init__(
        self,
        directory: Directory,
        service: str,
        accounting: SpoolAccounting,
        clock: Clock,
        *,
        limit: int,
        age: float,
        durable: bool,
    ) -> None:
        self.max_body_bytes = min(MAX_BODY_BYTES, limit - FRAME_SIZE - 2 * HEADER_SIZE)
        """Bytes of the longest body that fits."""
        self.checkpoint_bytes = min(CHECKPOINT_BYTES, limit // 16)
        """Bytes that a checkpoint file may grow to before a new one replaces it."""
        self._directory = directory
        self._dead_letters = DeadLetters(directory, service, clock, limit // 8)
        self._service = service
        self._accounting = accounting
        self._clock = clock
        self._limit = limit
        self._durable = durable
        self._segment_bytes = min(SEGMENT_BYTES, limit // 16)
        self._span = min(_MAX_SPAN_S, age / 16)
        # A segment is as old as its first record, so its last one may be that much younger.
        self._max_age = age + self._span
        self._released = ReleasedSegments(accounting)
        self._segments: list[Segment] = []
        self._active: dict[str, Segment] = {}
        """The segment of each signal that records are written to."""
        self._total = 0
        """Bytes of all segments in the folder, of all processes, as far as this one knows."""
        self._stamp = 0
        self._orphaned: set[str] = set()
        """Signals with segments in the folder that this process could adopt."""

    @property
    def path(self) -> str:
        """The folder of the destination."""
        return self._directory.path

    def append(self, record: Record) -> None:
        """Write a record that is in memory. Raises ``OSError`` if the disk does not accept it."""
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
            if error.errno != errno.EFBIG or not segment.count:
                raise
            # A limit on the size of files (RLIMIT_FSIZE), not on their number.
            self._writable(record.signal, need).append(record)
        self._total += need
        if self._durable and record.segment is not None:
            try:
                os.fsync(record.segment.descriptor)
            except OSError as error:
                line = f"fsync fails in {self.path} ({error}): a power cut may lose telemetry"
                say(line, cause="fsync", code="OD303")

    def _writable(self, signal: str, need: int) -> Segment:
        segment = self._active.get(signal)
        if segment is None:
            return self._create(signal)
        links = segment.links()
        full = segment.count and segment.size + need > self._segment_bytes
        if links < 0:
            self._forget(segment)
        elif full or not links or segment.count >= SEGMENT_RECORDS or segment.header.age(self._clock) > self._span:
            self._retire(segment)
        else:
            return segment
        return self._create(signal)

    def has_room(self, need: int) -> bool:
        """Return whether ``need`` bytes fit without dropping anything."""
        return self._total + need + HEADER_SIZE <= self._limit

    def create_segment(self, signal: str) -> Segment:
        """Create a locked segment whose records this process does not send itself.

        Raises ``OSError``.
        """
        # Segments of this process stay in order when the wall clock is set back.
        self._stamp = max(self._clock.wall(), self._stamp + 1)
        entry, descriptor = self._directory.create(self._stamp, signal, durable=self._durable)
        clock = self._clock
        header = Header(entry.marker, self._stamp, os.getpid(), clock.boot(), clock.uptime(), self._service)
        segment = Segment(entry, descriptor, header)
        try:
            segment.write_header()
        except OSError:
            self._delete(segment)
            raise
        return segment

    def remove_segment(self, segment: Segment) -> None:
        """Delete a segment of :meth:`create_segment`, or empty it. Raises ``OSError``."""
        try:
            self._directory.remove(segment.name)
        except OSError:
            if segment.is_open():
                os.ftruncate(segment.descriptor, 0)
        segment.close()

    def _create(self, signal: str) -> Segment:
        segment = self.create_segment(signal)
        try:
            self._total = sum(other.size for other in self._directory.segments())
        except OSError:
            self._delete(segment)
            raise
        insort(self._segments, segment, key=lambda other: other.order)
        self._active[signal] = segment
        return segment

    def _retire(self, segment: Segment) -> None:
        """Write no more into a segment."""
        del self._active[segment.signal]
        if not segment.unacknowledged:
            self._delete(segment)
        elif segment.signal in self._orphaned and not segment.busy():
            # Older ones have been released; they are to be adopted before this one is sent.
            self._release(segment)
        else:
            self._release_excess()

    def pending(self, signal: str) -> Iterator[Record]:
        """Yield the records of a signal that are not done, oldest first."""
        for segment in list(self._segments):
            if not segment.unacknowledged:
                continue
            if not segment.is_open():
                self._forget(segment)
                continue
            yield from (record for record in segment.pending() if record.signal == signal)

    def oldest(self, signal: str) -> float:
        """Return the Unix time of the oldest record of a signal, 0 where none waits here."""
        record = next(self.pending(signal), None)
        return record.time / 1e9 if record is not None else self._released.oldest(signal)

    def acknowledge(self, records: Iterable[Record]) -> None:
        """Mark records in segments as done, and delete the segments without other ones."""
        groups: dict[Segment, list[Record]] = {}
        for record in records:
            if record.segment is not None:
                groups.setdefault(record.segment, []).append(record)
        for segment, group in groups.items():
            if not segment.closed and not segment.is_open():
                self._forget(segment)
            if not segment.closed:
                self._accounting.remove(group)
            try:
                segment.acknowledge(group)
            except OSError as error:
                line = f"cannot mark in {self.path} what was delivered ({error}): it may be sent twice"
                say(line, cause="mark", code="OD304")
            if not segment.closed and not segment.unacknowledged:
                self._delete_or_truncate(segment)

    def _delete_or_truncate(self, segment: Segment) -> None:
        if self._active.get(segment.signal) is not segment:
            self._delete(segment)
        elif segment.size > _TRUNCATE_BYTES or segment.size > self._segment_bytes // 2:
            size = segment.size
            with suppress(OSError):
                segment.truncate()
            self._total -= size - segment.size

    def write_dead_letter(self, signal: str, body: bytes, count: int, reason: str) -> None:
        """Keep a body that the collector rejects for good, in a bounded folder. Never raises."""
        self._dead_letters.write(signal, body, count, reason)

    def has_older_orphans(self, signal: str) -> bool:
        """Return whether orphans of a signal are older than all that this process holds."""
        return signal in self._orphaned and not any(
            segment.unacknowledged and segment.signal == signal and self._active.get(signal) is not segment
            for segment in list(self._segments)
        )

    def claim_orphans(self) -> list[Segment]:
        """Lock orphans, oldest first, as many as may be held.

        Each must be given to :meth:`load` and its result to :meth:`add_loaded`. Raises ``OSError``.
        """
        self._orphaned.clear()
        entries = self._directory.segments()
        self._total = sum(entry.size for entry in entries)
        self._released.retain({entry.name for entry in entries})
        held = {segment.name for segment in self._segments}
        counts = Counter(s.signal for s in self._segments if self._active.get(s.signal) is not s)
        budget = _ADOPTED_BYTES
        claimed: list[Segment] = []
        foreign = [entry for entry in entries if entry.name not in held]
        if not foreign:
            return claimed
        folder = self._directory.open()
        try:
            for entry in foreign:
                if counts[entry.signal] >= HELD_SEGMENTS or budget <= 0:
                    self._orphaned.add(entry.signal)
                    if len(claimed) > 4 * HELD_SEGMENTS or self._clock.wall() - entry.stamp < self._max_age * 1e9:
                        continue
                segment = self._claim(entry, folder)
                if segment is not None:
                    counts[entry.signal] += 1
                    budget -= entry.size
                    claimed.append(segment)
        finally:
            os.close(folder)
        return claimed

    def _claim(self, entry: Entry, folder: int) -> Segment | None:
        descriptor = self._directory.claim(entry, folder)
        # Adopted by another process or again by this one.
        self._released.remove(entry.name)
        if descriptor is None:
            return None
        try:
            segment = Segment(entry, descriptor, read_header(descriptor), loading=True)
        except OSError:
            os.close(descriptor)
            return None
        insort(self._segments, segment, key=lambda other: other.order)
        return segment

    def load(self, segment: Segment) -> tuple[list[ScannedRecord], list[Damage]]:
        """Scan a claimed segment; without the spool's lock, since it may take a while."""
        return salvage(segment, self._dead_letters)

    def add_loaded(self, segment: Segment, found: list[ScannedRecord], damages: list[Damage]) -> None:
        """Add the records of a loaded segment to those that wait, and count its damages."""
        for damage in damages:
            self._accounting.drop(damage.signal, damage.count, "corrupt")
        for record in segment.add_loaded(found):
            self._accounting.add(record)
        if not found:
            self._delete(segment)

    def enforce_limits(self) -> None:
        """Drop segments that are too old, and release those beyond the number that may be held."""
        for segment in list(self._segments):
            if segment.header.age(self._clock) > self._max_age and not segment.busy():
                self._drop(segment, "age")
        self._release_excess()

    def _release_excess(self) -> None:
        counts: Counter[str] = Counter()
        for segment in list(self._segments):
            if self._active.get(segment.signal) is segment:
                continue
            counts[segment.signal] += 1
            if counts[segment.signal] > HELD_SEGMENTS and not segment.busy():
                self._release(segment)

    def _make_room(self, need: int) -> None:
        """Drop the oldest own or orphaned segments until ``need`` bytes fit. Raises ``OSError``."""
        entries = self._directory.segments()
        self._released.retain({entry.name for entry in entries})
        held = {segment.name: segment for segment in self._segments}
        active = [held[entry.name] for entry in entries if held.get(entry.name) in self._active.values()]
        self._total = sum(entry.size for entry in entries)
        folder = self._directory.open()
        try:
            for entry in entries:
                if self._total + need + HEADER_SIZE <= self._limit:
                    return
                segment = held.get(entry.name)
                if segment is None:
                    segment = self._claim(entry, folder)
                    if segment is not None:
                        self.add_loaded(segment, *self.load(segment))
                if segment is not None and segment not in active and not segment.closed and not segment.busy():
                    self._drop(segment, "size")
        finally:
            os.close(folder)
        for segment in active:
            if self._total + need + HEADER_SIZE > self._limit and not segment.busy():
                self._drop(segment, "size")
        if self._total + need > self._limit:
            raise OSError(errno.EDQUOT, f"other processes use all of {settings.OTEL_DISTRO_SPOOL_MAX_BYTES.name}")

    def _drop(self, segment: Segment, reason: str) -> None:
        dropped = segment.drop()
        self._accounting.remove(dropped)
        for record in dropped:
            self._accounting.drop(record.signal, record.count, reason)
        self._delete(segment)

    def _delete(self, segment: Segment) -> None:
        """Delete a segment whose records are all done: unlink, then unlock, so none adopts it."""
        try:
            self._directory.remove(segment.name)
            self._total -= segment.size
        except OSError as error:
            say(f"cannot delete {self.path}/{segment.name}: {error}", cause="remove", code="OD305")
        self._remove(segment)
        segment.close()

    def _release(self, segment: Segment) -> None:
        """Unlock a segment for other processes; until one adopts it, it counts here."""
        self._orphaned.add(segment.signal)
        self._released.add(segment.name, segment.pending())
        self._remove(segment)
        segment.close()

    def _forget(self, segment: Segment) -> None:
        """Stop using a segment whose descriptor the application has closed: it is an orphan now."""
        segment.mark_closed()
        self._orphaned.add(segment.signal)
        self._accounting.remove(segment.pending())
        self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        if self._active.get(segment.signal) is segment:
            del self._active[segment.signal]
        if segment in self._segments:
            self._segments.remove(segment)

    def close(self) -> None:
        """Release what waits to other processes, except segments that are being sent."""
        for segment in list(self._segments):
            if segment.busy():
                continue
            if segment.unacknowledged:
                self._release(segment)
            else:
                self._delete(segment)
        self._released.retain(set())

    def reset_after_fork(self) -> None:
        """Close all segments in a forked child: its copies of the descriptors keep them locked."""
        for segment in self._segments:
            segment.close()
        self._segments, self._active, self._total = [], {}, 0
        self._orphaned.clear()
        self._released.reset_after_fork()
