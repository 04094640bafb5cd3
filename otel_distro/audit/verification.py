"""Verify audit files: every line, the transitions between files, and the head."""

from __future__ import annotations

import fcntl
import os
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_distro._runtime import threads
from otel_distro.audit.head import SIZE, SUFFIX, read_head
from otel_distro.audit.seal import MAX_LINE_BYTES, ZERO_HASH, ChainCheck, Header, Link, Seal, header_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOCK_TIMEOUT_S: Final = 2.0
"""How long to wait for a process that is writing."""
_POLL_INTERVAL_S: Final = 0.002
_ROTATED: Final = re.compile(r"\.[0-9]{12,}$")


class Finding(NamedTuple):
    """A problem and where it is. ``line`` 0: the file as a whole."""

    path: str
    line: int
    text: str


class VerificationResult(NamedTuple):
    """The outcome of a verification.

    ``last``: the end of the chain. ``notes``: what could not be verified.
    """

    lines: int
    files: int
    last: Link
    findings: list[Finding]
    notes: list[str]


class KeyNeeded(Exception):
    """A file is sealed with a key that was not given."""


def files_of(path: str) -> list[str]:
    """Return the files of the chain that ends in ``path``, oldest first, with itself."""
    folder, name = os.path.split(os.path.abspath(path))
    rotated = [each for each in os.listdir(folder) if each.startswith(name) and _ROTATED.fullmatch(each[len(name) :])]
    ordered = sorted(rotated, key=lambda each: int(each[len(name) + 1 :]))
    # Just after a rotation it may not exist yet.
    itself = [path] if os.path.lexists(path) or not ordered else []
    return [*(os.path.join(folder, each) for each in ordered), *itself]


def verify(paths: Sequence[str], keys: Sequence[bytes] = (), *, current: str = "") -> VerificationResult:
    """Verify the files of one chain, oldest first.

    Args:
        paths: The files.
        keys: Keys that the lines may be sealed with. If any is given, every file must be sealed
            with one of them.
        current: The audit file whose head states where the chain ends; empty if the last of
            ``paths`` is a rotated file.

    Raises:
        KeyNeeded: A file is sealed with a key that is not in ``keys``.
        OSError: A file cannot be read.
    """
    seals = {seal.key_id: seal for seal in (*map(Seal, keys), Seal())}
    findings: list[Finding] = []
    notes: list[str] = []
    last: Link | None = None
    count = 0
    ended = False
    seal = next(iter(seals.values()))
    # Read first: lines that are written during the verification are not checked.
    head, size = _head_and_size(current) if current else (None, -1)
    for path in paths:
        header = _header(path)
        if header is not None and header.key_id not in seals:
            raise KeyNeeded(f"{path} is sealed with the key {header.key_id}, which was not given")
        seal = seals[header.key_id] if header is not None else seal
        if keys and not seal.key_id:
            findings.append(Finding(path, 0, "is not sealed with a key, and one was given"))
        check = ChainCheck(seal)
        for number, text, whole in _lines(path, size if path == current else -1):
            problem = "has no line end" if not whole else check.step(text)
            if number == 1:
                problem = problem or _check_first_line(header, check, last, notes, path)
            if problem:
                findings.append(Finding(path, number, problem))
            count += 1
        if check.last is not None:
            last, ended = check.last, check.ended
    if current:
        findings.extend(_check_head(current, head, seal, last))
    elif not ended:
        findings.append(
            Finding(paths[-1], 0, "lines are missing at its end: the final line of a rotated file is not there")
        )
    return VerificationResult(count, len(paths), last or Link(0, ""), findings, notes)


def is_rotated(path: str) -> bool:
    """Return whether the name is that of a rotated file."""
    return _ROTATED.search(os.path.basename(path)) is not None


def _header(path: str) -> Header | None:
    with open(path, "rb") as file:
        return header_of(file.readline(MAX_LINE_BYTES))


def _lines(path: str, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number and text of each line in the first ``size`` bytes (-1: all).

    The third value is whether the line has its line end.
    """
    with open(path, "rb") as file:
        number = read = 0
        while (size < 0 or read < size) and (text := file.readline(MAX_LINE_BYTES)):
            number += 1
            read += len(text)
            whole = text.endswith(b"\n")
            yield number, text[:-1] if whole else text, whole


def _check_first_line(
    header: Header | None, check: ChainCheck, before: Link | None, notes: list[str], path: str
) -> str:
    """Return the problem of a first line, given the last link of the file before."""
    if header is None or check.last is None:
        return "is not the first line of a file: lines before it are missing"
    previous = check.previous
    if before is None:
        if check.last.sequence > 1:
            notes.append(f"{path} continues line {check.last.sequence - 1} of a file that is not here")
        return ""
    if previous != before:
        return f"continues line {previous.sequence}, but the file before it ends with line {before.sequence}"
    return ""


def _head_and_size(path: str) -> tuple[bytes | None, int]:
    """Return the head, None if missing, and the size of the file, read under one lock."""
    try:
        with open(path + SUFFIX, "rb") as file:
            deadline = time.monotonic() + _LOCK_TIMEOUT_S
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    threads.nap(_POLL_INTERVAL_S)
            return file.read(SIZE + 1), _size(path)
    except FileNotFoundError:
        return None, _size(path)


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.lexists(path) else 0


def _check_head(path: str, raw: bytes | None, seal: Seal, last: Link | None) -> Iterator[Finding]:
    name = path + SUFFIX
    if raw is None:
        yield Finding(name, 0, "is missing: lines missing at the end of the file cannot be detected")
        return
    head = read_head(raw, seal)
    if head is None or head.key_id != seal.key_id:
        yield Finding(name, 0, "was changed")
        return
    end = last or Link(0, ZERO_HASH)
    if end.sequence < head.link.sequence:
        problem = f"lines are missing at its end: it had {head.link.sequence} and ends with {end.sequence}"
        yield Finding(path, 0, problem)
    elif end.sequence == head.link.sequence and end.hash != head.link.hash:
        yield Finding(path, 0, "its last line is not the one that its head states")
