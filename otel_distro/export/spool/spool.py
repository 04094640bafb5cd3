"""The durable queue of encoded requests: appended before they are sent, deleted when the collector has taken them.

What is appended has reached the kernel when the call returns, so a process that is killed, that exits during an outage
or that forks leaves it for whoever comes next: a sibling, the next start, ``otel-distro drain``. How: each process
writes segments of its own (:mod:`otel_distro.export.spool.segment`) into a folder that all processes with the same
destination share (:mod:`otel_distro.export.spool.directory`), and orphans are adopted
(:mod:`otel_distro.export.spool.store`).

Delivery is at least once: a process killed between the collector's answer and :meth:`Spool.done` leaves that one batch
to be sent again. There is one segment for each signal, so that a refused signal neither blocks the others nor keeps
their bytes on the disk.

Where the disk does not take a body it waits in memory, within bounds, and moves to the disk once that works again.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_distro import settings
from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import guard, report_failure, say
from otel_distro.export.spool.accounting import SpoolAccounting
from otel_distro.export.spool.directory import Directory, state_home
from otel_distro.export.spool.reading import Taken, read_bodies
from otel_distro.export.spool.segment import SIGNALS, Clock, Record
from otel_distro.export.spool.store import SegmentStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

MEMORY_BYTES = 32 * 1024 * 1024
"""Bytes of bodies that wait in memory, of all signals together, where the disk does not take them."""

MAX_ITEMS = 8192
_RETRY = 1.0
_PATIENCE = 10.0
_SPILL_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Batch:
    """The oldest requests of a signal, joined into one: serialised OTLP requests may be concatenated."""

    signal: str
    body: bytes
    count: int
    records: Sequence[Record]


class TimeoutLock:
    """A lock that nobody hangs at: a signal handler may have interrupted its very holder, and raises instead."""

    def __init__(self) -> None:
        self._lock = threads.allocate_lock()
        self._owner = 0

    def __enter__(self) -> None:
        me = threads.get_ident()
        if self._owner == me or not self._lock.acquire(True, _PATIENCE):
            raise RuntimeError("the spool is in use by a thread that does not move")
        self._owner = me

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._owner = 0
        self._lock.release()


class Spool:
    """The queue. Any thread may append; one at a time takes batches of a signal. No method raises."""

    def __init__(self, store: SegmentStore | None, ledger: SpoolAccounting) -> None:
        self.store = store
        self._ledger = ledger
        self._longest = MEMORY_BYTES if store is None else store.longest
        self._reset()

    def _reset(self) -> None:
        self._gate = TimeoutLock()
        self._inbox: deque[Record] = deque()
        self._memory: dict[str, deque[Record]] = {}
        self._memory_bytes = 0
        self._out: dict[str, Sequence[Record]] = {}
        self._failing = False
        self._retry_at = 0.0
        self._forking = False
        self._closed = False

    @property
    def folder(self) -> str:
        """The folder of the destination on the disk, empty where telemetry is kept in memory only."""
        return self.store.directory.path if self.store is not None else ""

    @property
    def durable(self) -> bool:
        """Whether what is appended now survives the process."""
        return self.store is not None and not self._failing

    @property
    def waiting(self) -> int:
        """Bytes of all requests that wait."""
        return sum(list(self._ledger.bytes.values()))

    def append(self, signal: str, body: bytes, count: int) -> None:
        """Queue an encoded request of ``count`` items; on return the kernel has it, or else the memory."""
        if not body:
            return
        self._inbox.append(Record(signal, min(max(count, 0), 2**32 - 1), max(0, time.time_ns()), len(body), body))
        with guard("spooling telemetry"), self._gate:
            self._take_in()

    def _take_in(self) -> None:
        while self._inbox:
            record = self._inbox.popleft()
            if record.signal not in SIGNALS or record.length > self._longest:
                self._ledger.lose(record.signal, record.count, "size" if record.signal in SIGNALS else "unknown_signal")
                continue
            self._ledger.add(record)
            self._memory.setdefault(record.signal, deque()).append(record)
            self._memory_bytes += record.length
        if self._memory_bytes and self.store is not None and time.monotonic() >= self._retry_at:
            self._spill(self.store, _SPILL_BYTES)
        while self._memory_bytes > MEMORY_BYTES and self._drop_oldest():
            pass

    def _spill(self, store: SegmentStore, budget: int) -> None:
        """Move bodies from memory to the disk, in their order, until ``budget`` bytes have moved."""
        stored = False
        try:
            for queue in self._memory.values():
                while queue and budget > 0:
                    record = queue[0]
                    if not record.done:
                        store.store(record)
                        stored = True
                        self._memory_bytes -= record.length
                        budget -= record.length
                    queue.popleft()
        except Exception as error:
            self._retry_at = time.monotonic() + _RETRY
            if not self._failing:
                self._failing = True
                path = store.directory.path
                say(f"cannot write to {path} ({error}); keeping telemetry in memory", cause=f"spool fails {path}")
            if not isinstance(error, OSError):
                report_failure("spooling telemetry", error)
            return
        if self._failing and stored and not self._memory_bytes:
            self._failing = False
            say(f"{store.directory.path} takes telemetry again", cause=f"spool works {store.directory.path}")

    def _drop_oldest(self) -> bool:
        candidates = (next((r for r in queue if not r.done and not r.taken), None) for queue in self._memory.values())
        oldest = min((record for record in candidates if record is not None), key=lambda r: r.time, default=None)
        if oldest is None:
            return False
        self._ledger.lose(oldest.signal, oldest.count, "memory_full")
        self._end([oldest])
        return True

    def next(self, signal: str, max_bytes: int, max_items: int = MAX_ITEMS, *, beside: bool = False) -> Batch | None:
        """Return the oldest requests of ``signal`` that nobody acknowledged, at least one, or None where none waits.

        Until :meth:`done`, :meth:`dead_letter` or :meth:`put_back` they are not dropped; asked again, they come again.
        ``beside`` leaves those out that are taken, for a second thread while the first has not done with them.
        """
        with guard("reading spooled telemetry"):
            for _ in range(0 if self._closed else 16):
                if self.store is not None and self.store.short_of(signal) and self.adopt():
                    continue
                with self._gate:
                    self._take_in()
                    taken = self._collect(signal, max_bytes, max_items, beside)
                if not taken:
                    return None
                batch = self._read(signal, taken)
                if batch is not None:
                    return batch
        return None

    def _collect(self, signal: str, max_bytes: int, max_items: int, beside: bool) -> list[Taken]:
        others: Sequence[Record] = self._out.pop(signal, ())
        if not beside:
            for record in others:
                record.taken = False
            others = ()
        taken: list[Taken] = []
        size = items = 0
        for source in (self.store.records(signal) if self.store is not None else (), self._memory.get(signal, ())):
            for record in source:
                if record.done or record.taken:
                    continue
                size += record.length
                items += record.count
                if taken and (size > max_bytes or items > max_items):
                    break
                taken.append(Taken(record, record.segment, record.body))
        for record, segment, _ in taken:
            record.taken = True
            if segment is not None:
                segment.reading += 1
        self._out[signal] = [*others, *(record for record, _, _ in taken)]
        return taken

    def _read(self, signal: str, taken: list[Taken]) -> Batch | None:
        """Read the bodies, without the lock, and join them. What cannot be read any more is counted and left out."""
        found = read_bodies(taken, threads.GilYield().take)
        bodies = [body for body in found if body is not None]
        sound = [each.record for each, body in zip(taken, found, strict=True) if body is not None]
        broken = [each.record for each, body in zip(taken, found, strict=True) if body is None]
        with self._gate:
            for _, segment, _ in taken:
                if segment is not None:
                    segment.reading -= 1
            for record in broken:
                if record.segment is None or record.segment.intact():
                    self._ledger.lose(signal, record.count, "corrupt")
            self._end(broken)
            self._out[signal] = [record for record in self._out.get(signal, ()) if not record.done]
        return Batch(signal, b"".join(bodies), sum(record.count for record in sound), sound) if sound else None

    def done(self, batch: Batch) -> None:
        """Acknowledge a batch: it never comes again, in this process or the next."""
        with guard("acknowledging telemetry"), self._gate:
            self._end(batch.records)

    def put_back(self, batch: Batch) -> None:
        """Give a batch back that could not be sent, so that the bounds may drop it too."""
        for record in batch.records:
            record.taken = False

    def dead_letter(self, batch: Batch, reason: str, body: bytes | None = None, count: int | None = None) -> None:
        """Acknowledge a batch that is refused for good, and keep it in a bounded folder of rejected bodies.

        Where only a part is to blame, ``body`` and ``count`` are that part. Its items are counted as ``rejected``.
        """
        with guard("setting refused telemetry aside"):
            blamed = batch.count if count is None else count
            if self.store is not None:
                self.store.rejects.keep(batch.signal, batch.body if body is None else body, blamed, reason)
            with self._gate:
                self._ledger.dropped[batch.signal, "rejected"] += blamed
                self._end(batch.records)

    def _end(self, records: Iterable[Record]) -> None:
        ended = [record for record in records if not record.done]
        for record in ended:
            record.done = True
            record.taken = False
            if record.segment is None:
                self._memory_bytes -= record.length
                record.body = None
                self._ledger.remove(record)
            elif not record.segment.gone:
                self._ledger.remove(record)
        for queue in self._memory.values():
            while queue and queue[0].done:
                queue.popleft()
        if self.store is not None:
            self.store.finish(ended)

    def adopt(self) -> int:
        """Take over segments whose owners are gone, drop what is too old; return how many were taken.

        To be called at the start, when the collector takes telemetry again and every few seconds. One call reads at
        most some megabytes; while it returns more than 0 there may be more.
        """
        store = self.store
        if store is None or self._closed:
            return 0
        with guard("adopting spooled telemetry"):
            with self._gate:
                self._take_in()
                try:
                    taken = store.choose()
                except OSError:
                    # An unusable directory has nothing for us; that it is unusable is said where something is written.
                    return 0
            for segment in taken:
                found = store.load(segment)
                with self._gate:
                    store.keep(segment, *found)
            with self._gate:
                store.tidy()
            return sum(not segment.gone for segment in taken)
        return 0

    def pending(self) -> dict[str, tuple[int, int, float]]:
        """Return what waits here of each signal: items, bytes, Unix time of the oldest."""
        found: dict[str, tuple[int, int, float]] = {}
        with guard("counting spooled telemetry"), self._gate:
            self._take_in()
            for signal, size in self._ledger.bytes.items():
                if size <= 0:
                    continue
                oldest = self.store.oldest(signal) if self.store is not None else 0.0
                if not oldest:
                    oldest = next((record.time for record in self._memory.get(signal, ()) if not record.done), 0) / 1e9
                found[signal] = (self._ledger.items[signal], size, oldest)
        return found

    def dropped(self) -> dict[tuple[str, str], int]:
        """Return the items lost since the start by signal (``unknown`` where damage hides it) and reason.

        Reasons: ``size`` and ``age`` (the bounds of the directory), ``memory_full``, ``corrupt``, ``rejected``.
        """
        return dict(self._ledger.dropped)

    def before_fork(self) -> None:
        """Wait until no other thread is in the middle of opening a file, whose lock the child would then share."""
        with guard("forking with spooled telemetry"):
            self._gate.__enter__()
            self._forking = True

    def after_fork_in_parent(self) -> None:
        """Let the other threads go on."""
        if self._forking:
            self._forking = False
            self._gate.__exit__(None, None, None)

    def after_fork_in_child(self) -> None:
        """Start empty: what waits is the parent's. The first append makes an own segment."""
        with guard("spooled telemetry after a fork"):
            self._reset()
            if self.store is not None:
                self.store.abandon()
            self._ledger.clear()

    def hand_over(self) -> None:
        """Let other processes have what is on the disk, and go on."""
        with guard("handing over the spool"), self._gate:
            if self.store is not None:
                self.store.close()

    def close(self) -> None:
        """Leave what waits to the next process and delete files of which nothing is left.

        What is appended later still reaches the disk, and is the next process's, too. What waits in memory stays
        pending. A batch that is being sent can still be acknowledged.
        """
        with guard("closing the spool"), self._gate:
            self._closed = True
            self._take_in()
            if self.store is not None:
                self._spill(self.store, MEMORY_BYTES + 1)
                self.store.close()


def open_spool(environ: Mapping[str, str], key: str, service: str, origins: Iterable[str] = ()) -> Spool:
    """Return the spool of a destination. Never raises, touches no file.

    ``key`` (see :func:`spool_key`) names the destination: only processes with the same one adopt from each other.
    ``origins`` are the URLs without credentials that ``otel-distro spool`` shows for it.
    """
    ledger = SpoolAccounting()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):
        key = spool_key(key)
    limit = settings.OTEL_DISTRO_SPOOL_MAX_BYTES.get(environ)
    if settings.OTEL_DISTRO_SPOOL.get(environ) == "off" or not limit:
        return Spool(None, ledger)
    try:
        base = state_home(environ)
    except OSError as error:
        say(f"telemetry is kept in memory only: {error}", cause="spool without home")
        return Spool(None, ledger)
    store = SegmentStore(
        Directory(base, key, origins),
        service,
        ledger,
        Clock(),
        limit=limit,
        age=settings.OTEL_DISTRO_SPOOL_MAX_AGE.get(environ) or float("inf"),
        durable=settings.OTEL_DISTRO_SPOOL_FSYNC.get(environ),
    )
    return Spool(store, ledger)


def spool_key(*parts: str) -> str:
    """Return the name of a destination's folder: the same for the same strings in any order, and no secret."""
    import hashlib

    return hashlib.sha256("\n".join(sorted(parts)).encode("utf-8", "replace")).hexdigest()[:16]
