"""Verifies audit files: every line, the way from file to file, and the head that says where the chain ends."""

from __future__ import annotations

import fcntl
import os
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_distro._runtime import threads
from otel_distro.audit.head import SIZE, SUFFIX, read_head
from otel_distro.audit.seal import LONGEST_LINE, NOTHING, Header, Link, Seal, Walk, header_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PATIENCE: Final = 2.0
_NAP: Final = 0.002
_PUT_AWAY: Final = re.compile(r"\.[0-9]{12,}$")


class Finding(NamedTuple):
    """What is wrong, and where. ``line`` 0: with the file as a whole."""

    path: str
    line: int
    text: str


class VerificationResult(NamedTuple):
    """What came of it. ``notes``: what could not be seen. ``last``: the end of the chain."""

    lines: int
    files: int
    last: Link
    findings: list[Finding]
    notes: list[str]


class KeyNeeded(Exception):
    """The file is sealed with a key that was not given."""


def files_of(path: str) -> list[str]:
    """Return the files of the chain that ends in ``path``, oldest first: those that were put away beside it, and itself."""
    folder, name = os.path.split(os.path.abspath(path))
    put_away = [each for each in os.listdir(folder) if each.startswith(name) and _PUT_AWAY.fullmatch(each[len(name) :])]
    ordered = sorted(put_away, key=lambda each: int(each[len(name) + 1 :]))
    # In the moment after it was put away it may not be there.
    itself = [path] if os.path.lexists(path) or not ordered else []
    return [*(os.path.join(folder, each) for each in ordered), *itself]


def verify(paths: Sequence[str], keys: Sequence[bytes] = (), *, current: str = "") -> VerificationResult:
    """Verify the files of one chain, oldest first.

    ``current``: the audit file whose head says where the chain ends, empty where the last of ``paths`` was put away.
    ``keys``: those the lines may be sealed with; with one, all files must be. Raises ``OSError`` where a file cannot be
    read and :class:`KeyNeeded` where one is sealed with a key that is not among them.
    """
    seals = {seal.key_id: seal for seal in (*map(Seal, keys), Seal())}
    findings: list[Finding] = []
    notes: list[str] = []
    at: Link | None = None
    count = 0
    ended = False
    seal = next(iter(seals.values()))
    # First of all: what is written meanwhile is not looked at.
    head, size = _head_and_size(current) if current else (None, -1)
    for path in paths:
        header = _header(path)
        if header is not None and header.key_id not in seals:
            raise KeyNeeded(f"{path} is sealed with the key {header.key_id}, which was not given")
        seal = seals[header.key_id] if header is not None else seal
        if keys and not seal.key_id:
            findings.append(Finding(path, 0, "is not sealed with a key, and one was given"))
        walk = Walk(seal)
        for number, text, whole in _lines(path, size if path == current else -1):
            problem = "has no end" if not whole else walk.step(text)
            if number == 1:
                problem = problem or _beginning(header, walk, at, notes, path)
            if problem:
                findings.append(Finding(path, number, problem))
            count += 1
        if walk.at is not None:
            at, ended = walk.at, walk.ended
    if current:
        findings.extend(_check_head(current, head, seal, at))
    elif not ended:
        findings.append(Finding(paths[-1], 0, "lines are missing at its end: it does not say that it ends"))
    return VerificationResult(count, len(paths), at or Link(0, ""), findings, notes)


def was_put_away(path: str) -> bool:
    """Return whether the name is that of a file that was put away."""
    return _PUT_AWAY.search(os.path.basename(path)) is not None


def _header(path: str) -> Header | None:
    with open(path, "rb") as file:
        return header_of(file.readline(LONGEST_LINE))


def _lines(path: str, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number and text of each line within the first ``size`` bytes (-1: all), and whether it has its end."""
    with open(path, "rb") as file:
        number = read = 0
        while (size < 0 or read < size) and (text := file.readline(LONGEST_LINE)):
            number += 1
            read += len(text)
            whole = text.endswith(b"\n")
            yield number, text[:-1] if whole else text, whole


def _beginning(header: Header | None, walk: Walk, before: Link | None, notes: list[str], path: str) -> str:
    """Return what is wrong with a first line, seen from the file before."""
    if header is None or walk.at is None:
        return "is not the beginning of a file: lines before it are missing"
    previous = walk.previous
    if before is None:
        if walk.at.sequence > 1:
            notes.append(f"{path} goes on from line {walk.at.sequence - 1} of a file that is not here")
        return ""
    if previous != before:
        return f"goes on from line {previous.sequence}, and the file before it ends with line {before.sequence}"
    return ""


def _head_and_size(path: str) -> tuple[bytes | None, int]:
    """Return the head, None where there is none, and the size of the file: those of one moment, whoever writes."""
    try:
        with open(path + SUFFIX, "rb") as file:
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    threads.nap(_NAP)
            return file.read(SIZE + 1), _size(path)
    except FileNotFoundError:
        return None, _size(path)


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.lexists(path) else 0


def _check_head(path: str, raw: bytes | None, seal: Seal, at: Link | None) -> Iterator[Finding]:
    name = path + SUFFIX
    if raw is None:
        yield Finding(name, 0, "is missing: whether lines are missing at the end cannot be seen")
        return
    head = read_head(raw, seal)
    if head is None or head.key_id != seal.key_id:
        yield Finding(name, 0, "was changed")
        return
    last = at or Link(0, NOTHING)
    if last.sequence < head.link.sequence:
        said = f"lines are missing at its end: it had {head.link.sequence} and ends with {last.sequence}"
        yield Finding(path, 0, said)
    elif last.sequence == head.link.sequence and last.hash != head.link.hash:
        yield Finding(path, 0, "its last line is another one than its head says")
