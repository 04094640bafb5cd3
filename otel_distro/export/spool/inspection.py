"""What lies in the spools of this user: read for people, changing nothing and taking nothing from anybody."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_distro.export.spool.directory import REJECTED, Directory, destinations, plain, state_home
from otel_distro.export.spool.format import Damage, read_header, scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_distro.export.spool.segment import Entry

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True)
class Backlog:
    """What waits in the folder of one destination, of one service and one signal, in one state.

    ``state`` is ``held`` (a running process sends it), ``waiting`` (nobody does: the next process with that
    destination, or ``otel-distro drain``, will) or ``rejected`` (refused for good, kept for people, with the
    ``reason``). ``key`` and ``targets`` say for whom, ``oldest`` since when (Unix time), ``damaged`` counts stretches
    that cannot be read.
    """

    key: str
    targets: tuple[str, ...]
    path: str
    service: str
    signal: str
    state: str
    reason: str
    items: int
    bytes: int
    oldest: float
    damaged: int = 0


def inspect(environ: Mapping[str, str]) -> list[Backlog]:
    """Return what waits in every spool of this user, grouped, destination by destination. Never raises ``OSError``."""
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
    return Backlog(
        *(one.key, one.targets, one.path, one.service, one.signal, one.state, one.reason),
        *(one.items + other.items, one.bytes + other.bytes, min(one.oldest, other.oldest), one.damaged + other.damaged),
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
                if not plain(os.lstat(entry.name, dir_fd=folder)):
                    continue
                descriptor = os.open(entry.name, _READ, dir_fd=folder)
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
    state = "waiting" if _free(descriptor) else "held"
    service = header.service if header is not None else ""
    damaged = 0
    for found in scan(descriptor, header.marker if header is not None else entry.marker, bodies=False):
        if isinstance(found, Damage):
            damaged += 1
            continue
        yield Backlog(
            *(directory.key, targets, directory.path, service, found.signal, state, ""),
            *(found.items, found.length, found.time / 1e9),
        )
    if damaged:
        yield Backlog(
            *(directory.key, targets, directory.path, service, entry.signal or "unknown", state, ""),
            *(0, 0, entry.stamp / 1e9, damaged),
        )


def _free(descriptor: int) -> bool:
    """Return whether nobody holds the segment. The lock is shared and given back at once: who wanted it tries again."""
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
                descriptor = os.open(name, _READ, dir_fd=folder)
            except OSError:
                continue
            try:
                line, _, _ = os.read(descriptor, 64 * 1024).partition(b"\n")
                facts = json.loads(line)
                service, signal, reason = (str(facts[word]) for word in ("service", "signal", "reason"))
                size = os.fstat(descriptor).st_size - len(line) - 1
                items, moment = int(facts["count"]), float(facts["time"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            finally:
                os.close(descriptor)
            yield Backlog(
                *(directory.key, targets, directory.path, service, signal or "unknown", "rejected", reason),
                *(items, size, moment),
            )
    finally:
        os.close(folder)
