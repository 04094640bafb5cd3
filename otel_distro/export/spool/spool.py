"""The durable queue of encoded requests: appended before they are sent, deleted once acknowledged.

An appended request has reached the kernel when the call returns. A process that is killed, that
exits during an outage or that forks leaves it to another one: a sibling, the next start,
``otel-distro drain``. Each process writes segments of its own
(:mod:`otel_distro.export.spool.segment`) into a folder that all processes with the same destination
share (:mod:`otel_distro.export.spool.directory`), and adopts the segments of processes that have
ended (:mod:`otel_distro.export.spool.store`). README.md in this folder describes the whole.

Delivery is at least once: a process killed between the collector's answer and
:meth:`Spool.acknowledge` leaves that one batch to be sent again. Each signal has a segment of its
own, so that a rejected signal neither blocks the others nor keeps their bytes on the disk.

Where the disk does not accept a body it waits in memory, within bounds, and moves to the disk
later.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_distro import settings
from otel_distro._runtime.diagnostics import guard, report_failure, say
from otel_distro._runtime.gil import GilYield
from otel_distro._runtime.state_files import state_home
from otel_distro.export.spool.accounting import SpoolAccounting
from otel_distro.export.spool.clock import Clock
from otel_distro.export.spool.directory import Directory
from otel_distro.export.spool.format import SIGNALS
from otel_distro.export.spool.memory import MemoryBuffer
from otel_distro.export.spool.segment import Record, read_bodies
from otel_distro.export.spool.store import SegmentStore
from otel_distro.export.spool.timeout_lock import TimeoutLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_distro.export.spool.segment import Lease

MEMORY_BYTES = 32 * 1024 * 1024
"""Bytes of bodies that may wait in memory, of all signals together."""

MAX_BATCH_ITEMS = 8192
_MAX_ITEMS_OF_A_BODY = 2**32 - 1
_MAX_READS = 16
_DISK_RETRY_S = 1.0
_MAX_MOVE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Batch:
    """Leases on the oldest records of a signal, and their bodies joined into one request.

    Serialised OTLP requests may be concatenated: the result is one request with all their items.
    """

    signal: str
    body: bytes
    count: int
    leases: Sequence[Lease]


class Spool:
    """The queue. Any thread may append; one at a time leases batches of a signal.

    No method raises.

    Args:
        store: The segments on the disk, None to keep everything in memory.
        accounting: Counts what waits and what was lost; the store has the same.
    """

    def __init__(self, store: SegmentStore | None, accounting: SpoolAccounting) -> None:
        self.store = store
        self._accounting = accounting
        self._max_body_bytes = MEMORY_BYTES if store is None else store.max_body_bytes
        self._reset()

    def _reset(self) -> None:
        self._lock = TimeoutLock()
        self._inbox: deque[Record] = deque()
        self._memory = MemoryBuffer()
        self._leased: dict[str, Sequence[Lease]] = {}
        self._failing = False
        self._retry_at = 0.0
        self._forking = False
        self._closed = False

    @property
    def folder(self) -> str:
        """The folder of the destination, empty where telemetry is kept in memory only."""
        return self.store.path if self.store is not None else ""

    @property
    def durable(self) -> bool:
        """Whether what is appended now survives the process."""
        return self.store is not None and not self._failing

    @property
    def pending_bytes(self) -> int:
        """Bytes of all requests that wait."""
        return sum(list(self._accounting.bytes.values()))

    def append(self, signal: str, body: bytes, count: int) -> None:
        """Queue an encoded request of ``count`` items: on return the kernel or memory has it."""
        if not body:
            return
        items = min(max(count, 0), _MAX_ITEMS_OF_A_BODY)
        self._inbox.append(Record(signal, items, max(0, time.time_ns()), len(body), body))
        with guard("spooling telemetry"), self._lock:
            self._write_inbox()

    def _write_inbox(self) -> None:
        while self._inbox:
            record = self._inbox.popleft()
            if record.signal not in SIGNALS or record.length > self._max_body_bytes:
                reason = "size" if record.signal in SIGNALS else "unknown_signal"
                self._accounting.drop(record.signal, record.count, reason)
                continue
            self._accounting.add(record)
            self._memory.append(record)
        if self._memory.bytes and self.store is not None and time.monotonic() >= self._retry_at:
            self._move_to_disk(self.store, _MAX_MOVE_BYTES)
        while self._memory.bytes > MEMORY_BYTES and self._drop_oldest():
            pass

    def _move_to_disk(self, store: SegmentStore, budget: int) -> None:
        """Move bodies from memory to the disk, in order, until ``budget`` bytes have moved."""
        try:
            moved = self._memory.move(store.append, budget)
        except Exception as error:
            self._retry_at = time.monotonic() + _DISK_RETRY_S
            if not self._failing:
                self._failing = True
                say(
                    f"cannot write to {store.path} ({error}); keeping telemetry in memory, up to 32 MiB",
                    cause=f"spool fails {store.path}",
                    code="OD300",
                )
            if not isinstance(error, OSError):
                report_failure("spooling telemetry", error)
            return
        if self._failing and moved and not self._memory.bytes:
            self._failing = False
            say(f"telemetry is written to {store.path} again", cause=f"spool works {store.path}", code="OD301")

    def _drop_oldest(self) -> bool:
        oldest = self._memory.oldest()
        if oldest is None:
            return False
        self._accounting.drop(oldest.signal, oldest.count, "memory_full")
        self._acknowledge([oldest])
        return True

    def lease(
        self, signal: str, max_bytes: int, max_items: int = MAX_BATCH_ITEMS, *, secondary: bool = False
    ) -> Batch | None:
        """Lease the oldest requests of a signal that were not acknowledged.

        They are not dropped before :meth:`acknowledge`, :meth:`dead_letter` or :meth:`release`. A
        second call ends the lease of the first one and returns the same requests.

        Args:
            signal: The signal.
            max_bytes: Bytes of the batch; a longer body comes alone.
            max_items: Items of the batch; a body with more comes alone.
            secondary: Leave out what is leased, for a second thread while the first one still
                sends.

        Returns:
            At least one request, None where none waits or the spool is closed.
        """
        with guard("reading spooled telemetry"):
            for _ in range(0 if self._closed else _MAX_READS):
                if self.store is not None and self.store.has_older_orphans(signal) and self.adopt():
                    continue
                with self._lock:
                    self._write_inbox()
                    leases = self._lease(signal, max_bytes, max_items, secondary)
                if not leases:
                    return None
                batch = self._read(signal, leases)
                if batch is not None:
                    return batch
        return None

    def _lease(self, signal: str, max_bytes: int, max_items: int, secondary: bool) -> list[Lease]:
        others = self._leased.pop(signal, ())
        if not secondary:
            self._release(others)
            others = ()
        chosen: list[Record] = []
        size = items = 0
        for source in (self.store.pending(signal) if self.store is not None else (), self._memory.records(signal)):
            for record in source:
                if record.done or record.leased:
                    continue
                size += record.length
                items += record.count
                if chosen and (size > max_bytes or items > max_items):
                    break
                chosen.append(record)
        leases = [(record.segment or self._memory).lease(record) for record in chosen]
        self._leased[signal] = [*others, *leases]
        return leases

    def _read(self, signal: str, leases: list[Lease]) -> Batch | None:
        """Read the bodies without the lock and join them; count damaged ones and leave them out."""
        found = read_bodies(leases, GilYield().pause)
        intact = [lease for lease, body in zip(leases, found, strict=True) if body is not None]
        damaged = [lease.record for lease, body in zip(leases, found, strict=True) if body is None]
        with self._lock:
            for lease in leases:
                if lease.segment is not None:
                    lease.segment.end_read()
            for record in damaged:
                if record.segment is None or record.segment.is_open():
                    self._accounting.drop(signal, record.count, "corrupt")
            self._acknowledge(damaged)
            self._leased[signal] = [lease for lease in self._leased.get(signal, ()) if not lease.record.done]
        if not intact:
            return None
        body = b"".join(body for body in found if body is not None)
        return Batch(signal, body, sum(lease.record.count for lease in intact), intact)

    def acknowledge(self, batch: Batch) -> None:
        """Mark the records of a batch as done: no process sends them again."""
        with guard("acknowledging telemetry"), self._lock:
            self._acknowledge(lease.record for lease in batch.leases)

    def release(self, batch: Batch) -> None:
        """End the leases of a batch that could not be sent: it waits again, and may be dropped."""
        self._release(batch.leases)

    def _release(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            (lease.record.segment or self._memory).release(lease.record)

    def dead_letter(self, batch: Batch, reason: str, body: bytes | None = None, count: int | None = None) -> None:
        """Acknowledge a batch that the collector rejects for good; keep a body in ``rejected/``.

        Args:
            batch: The batch.
            reason: The collector's reason, stored with the body.
            body: The part that was rejected; default: all of the batch.
            count: Items of that part; they are counted as ``rejected``.
        """
        with guard("keeping rejected telemetry"):
            rejected = batch.count if count is None else count
            if self.store is not None:
                self.store.write_dead_letter(batch.signal, batch.body if body is None else body, rejected, reason)
            with self._lock:
                self._accounting.drop(batch.signal, rejected, "rejected")
                self._acknowledge(lease.record for lease in batch.leases)

    def _acknowledge(self, records: Iterable[Record]) -> None:
        remaining = [record for record in records if not record.done]
        for record in remaining:
            if record.segment is None:
                self._accounting.remove([record])
                self._memory.acknowledge(record)
        if self.store is not None:
            self.store.acknowledge(remaining)

    def adopt(self) -> int:
        """Take over segments of processes that have ended, and drop what is too old.

        To be called at the start, when the collector accepts telemetry again and every few seconds.
        One call reads at most some megabytes.

        Returns:
            The number of adopted segments; while it is above 0 there may be more.
        """
        store = self.store
        if store is None or self._closed:
            return 0
        with guard("adopting spooled telemetry"):
            with self._lock:
                self._write_inbox()
                try:
                    claimed = store.claim_orphans()
                except OSError:
                    # An unusable directory holds nothing to adopt; the next write reports it.
                    return 0
            for segment in claimed:
                found = store.load(segment)
                with self._lock:
                    store.add_loaded(segment, *found)
            with self._lock:
                store.enforce_limits()
            return sum(not segment.closed for segment in claimed)
        return 0

    def pending(self) -> dict[str, tuple[int, int, float]]:
        """Return items, bytes and the Unix time of the oldest request of each signal that waits."""
        found: dict[str, tuple[int, int, float]] = {}
        with guard("counting spooled telemetry"), self._lock:
            self._write_inbox()
            for signal, size in self._accounting.bytes.items():
                if size <= 0:
                    continue
                oldest = self.store.oldest(signal) if self.store is not None else 0.0
                if not oldest:
                    oldest = next((record.time for record in self._memory.records(signal) if not record.done), 0) / 1e9
                found[signal] = (self._accounting.items[signal], size, oldest)
        return found

    def dropped(self) -> dict[tuple[str, str], int]:
        """Return the items lost since the start by signal and reason.

        The signal is ``unknown`` where damage hides it. Reasons: ``size`` and ``age`` (the limits
        of the folder), ``memory_full``, ``corrupt``, ``rejected``, ``unknown_signal``.
        """
        return dict(self._accounting.dropped)

    def before_fork(self) -> None:
        """Take the lock, so that no thread opens a file during the fork.

        The child would share the lock of that file.
        """
        with guard("forking with spooled telemetry"):
            self._lock.__enter__()
            self._forking = True

    def after_fork_in_parent(self) -> None:
        """Release the lock in the parent."""
        if self._forking:
            self._forking = False
            self._lock.__exit__(None, None, None)

    def reset_after_fork(self) -> None:
        """Start empty in a forked child: what waits is the parent's."""
        with guard("spooled telemetry after a fork"):
            self._reset()
            if self.store is not None:
                self.store.reset_after_fork()
            self._accounting.reset_after_fork()

    def release_segments(self) -> None:
        """Let other processes adopt what is on the disk; this one can still append."""
        with guard("releasing the spool's segments"), self._lock:
            if self.store is not None:
                self.store.close()

    def close(self) -> None:
        """Release what waits to the next process, and delete the files in which nothing waits.

        What is appended later still reaches the disk, for the next process, too. What waits in
        memory stays pending. A batch that is being sent can still be acknowledged.
        """
        with guard("closing the spool"), self._lock:
            self._closed = True
            self._write_inbox()
            if self.store is not None:
                self._move_to_disk(self.store, MEMORY_BYTES + 1)
                self.store.close()


def open_spool(environ: Mapping[str, str], key: str, service: str, origins: Iterable[str] = ()) -> Spool:
    """Return the spool of a destination. Never raises, touches no file.

    Args:
        environ: The environment with the settings.
        key: Names the destination, see :func:`spool_key`: processes with the same key adopt each
            other's segments.
        service: The service that writes to it.
        origins: The URLs without credentials that ``otel-distro spool`` shows for it.
    """
    accounting = SpoolAccounting()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):
        key = spool_key(key)
    limit = settings.OTEL_DISTRO_SPOOL_MAX_BYTES.get(environ)
    if settings.OTEL_DISTRO_SPOOL.get(environ) == "off" or not limit:
        return Spool(None, accounting)
    try:
        base = state_home(environ)
    except OSError as error:
        say(f"telemetry is kept in memory only: {error}", cause="spool without home", code="OD302")
        return Spool(None, accounting)
    store = SegmentStore(
        Directory(base, key, origins),
        service,
        accounting,
        Clock(),
        limit=limit,
        age=settings.OTEL_DISTRO_SPOOL_MAX_AGE.get(environ) or float("inf"),
        durable=settings.OTEL_DISTRO_SPOOL_FSYNC.get(environ),
    )
    return Spool(store, accounting)


def spool_key(*parts: str) -> str:
    """Return the name of a destination's folder: a digest of the strings, in whatever order."""
    import hashlib

    return hashlib.sha256("\n".join(sorted(parts)).encode("utf-8", "replace")).hexdigest()[:16]
