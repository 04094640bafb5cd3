"""Lists what is in the spools of this user, for people. Changes nothing and adopts nothing."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from otel_distro._runtime.state_files import is_private_file, state_home
from otel_distro.export.spool.accounting import UNKNOWN_SIGNAL
from otel_distro.export.spool.directory import REJECTED, Directory, destinations
from otel_distro.export.spool.format import Damage, read_header, scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_distro.export.spool.segment import Entry

_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAX_FACTS_BYTES = 64 * 1024


@dataclass(frozen=True)
class Backlog:
    """Records in the folder of one destination, of one service and one signal, in one state.

    Attributes:
        key: The name of the destination's folder.
        targets: The URLs of the destination.
        path: The folder.
        service: The service that wrote it.
        signal: The signal.
        state: ``held``: a running process sends it. ``waiting``: the next process with that
            destination, or ``otel-distro drain``, will send it. ``rejected``: the collector
            rejected it for good, and it is kept for people.
        reason: Why it was rejected.
        items: Number of items.
        bytes: Bytes of the bodies.
        oldest: Unix time of the oldest request.
        damaged: Number of damaged regions.
    """

    key: str
    targets: tuple[str, ...]
    path: str
    service: str
    signal: str
    state: Literal["held", "waiting", "rejected"]
    reason: str
    items: int
    bytes: int
    oldest: float
    damaged: int = 0


def inspect(environ: Mapping[str, str]) -> list[Backlog]:
    """Return what is in every spool of this user, by destination. Never raises ``OSError``."""
    try:
        base = state_home(environ)
    except OSError:
        return []
    found: dict[tuple[str, str, str, str, str], Backlog] = {}
    for key, targets in destinations(base):
        directory = Directory(base, key)
        for part in (*_waiting(directory, targets), *_rejected(directory, targets)):
            group = (key, part.service, part.signal, part.state, part.reason)
            found[group] = _sum(found[group], part) if group in found else part
    return list(found.values())


def _sum(one: Backlog, other: Backlog) -> Backlog:
    return replace(
        one,
        items=one.items + other.items,
        bytes=one.bytes + other.bytes,
        oldest=min(one.oldest, other.oldest),
        damaged=one.damaged + other.damaged,
    )


def _waiting(directory: Directory, targets: tuple[str, ...]) -> Iterator[Backlog]:
    try:
        entries = directory.segments()
        folder = directory.open()
    except OSError:
        return
    try:
        for entry in entries:
            try:
                if not is_private_file(os.lstat(entry.name, dir_fd=folder)):
                    continue
                descriptor = os.open(entry.name, _READ_ONLY, dir_fd=folder)
            except OSError:
                continue
            try:
                yield from _segment(directory, targets, entry, descriptor)
            except OSError:
                continue
            finally:
                os.close(descriptor)
    finally:
        os.close(folder)


def _segment(directory: Directory, targets: tuple[str, ...], entry: Entry, descriptor: int) -> Iterator[Backlog]:
    header = read_header(descriptor)
    empty = Backlog(
        key=directory.key,
        targets=targets,
        path=directory.path,
        service=header.service if header is not None else "",
        signal=entry.signal or UNKNOWN_SIGNAL,
        state="waiting" if _is_orphan(descriptor) else "held",
        reason="",
        items=0,
        bytes=0,
        oldest=entry.stamp / 1e9,
    )
    damaged = 0
    for found in scan(descriptor, header.marker if header is not None else entry.marker, bodies=False):
        if isinstance(found, Damage):
            damaged += 1
            continue
        yield replace(empty, signal=found.signal, items=found.items, bytes=found.length, oldest=found.time / 1e9)
    if damaged:
        yield replace(empty, damaged=damaged)


def _is_orphan(descriptor: int) -> bool:
    """Return whether no process owns the segment.

    The test lock is shared and released at once. A process that fails to claim the segment
    meanwhile tries again.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _rejected(directory: Directory, targets: tuple[str, ...]) -> Iterator[Backlog]:
    import json

    try:
        folder = directory.open(below=(REJECTED,))
    except OSError:
        return
    try:
        for name in sorted(os.listdir(folder)):
            try:
                descriptor = os.open(name, _READ_ONLY, dir_fd=folder)
            except OSError:
                continue
            try:
                line, _, _ = os.read(descriptor, _MAX_FACTS_BYTES).partition(b"\n")
                facts = json.loads(line)
                yield Backlog(
                    key=directory.key,
                    targets=targets,
                    path=directory.path,
                    service=str(facts["service"]),
                    signal=str(facts["signal"]) or UNKNOWN_SIGNAL,
                    state="rejected",
                    reason=str(facts["reason"]),
                    items=int(facts["count"]),
                    bytes=os.fstat(descriptor).st_size - len(line) - 1,
                    oldest=float(facts["time"]),
                )
            except (OSError, ValueError, KeyError, TypeError):
                continue
            finally:
                os.close(descriptor)
    finally:
        os.close(folder)
