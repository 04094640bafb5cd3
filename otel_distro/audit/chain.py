"""The audit file: lines chained by hashes. Several processes append to it, one at a time.

A process that appends holds the lock of the head file, writes its lines, and then the head. If it
is killed in between, the file is longer than the head says; the next process checks the additional
lines and continues after them. A file that is shorter than the head says, or was changed, is a
broken chain: a line of the file records that, and the chain restarts after it.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from otel_distro._runtime import fork, threads
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.json_lines import iso
from otel_distro.audit.files import LockedFiles
from otel_distro.audit.head import BROKEN, INTACT, SUFFIX, Head, read_head
from otel_distro.audit.scan import Scan
from otel_distro.audit.seal import END, MAX_LINE_BYTES, START, ZERO_HASH, ChainCheck, Link, Seal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOCK_TIMEOUT_S: Final = 2.0
"""How long an append waits for other threads of this process."""
_WAIT_SLICE_S: Final = 0.001
_MAX_BATCHES: Final = 8
"""Batches that one thread writes before it lets another thread have the lock."""
_TAIL_BYTES: Final = 64 * 1024
_MAX_WAITING: Final = 1000
_HEAD_LOST: Final = "its head was changed or is missing"
_OTHER_KEY: Final = "it is sealed with another key, or with none"

Cause = Literal["", "new", "continued", "broken"]


@dataclass
class _End:
    """Where the next line is written.

    - ``cause``: why a first line is written before it; empty for none.
    - ``problem``: what is wrong with the chain; empty if it is intact.
    - ``known``: the problem was found before.
    """

    link: Link
    size: int
    state: str
    cause: Cause = ""
    problem: str = ""
    known: bool = False


class _Entry:
    """An event to be written. ``link``: set once its line is written."""

    __slots__ = ("fields", "link", "written")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.link: Link | None = None
        self.written = threads.allocate_lock()
        self.written.acquire()


class AuditFile:
    """Appends to the chain at ``path``. Thread-safe.

    Args:
        path: The audit file; its head is ``<path>.head``.
        seal: Computes the hashes.
        size: Bytes after which the file is rotated, 0 for never.
        durable: Whether each line is written with ``fsync``.
    """

    def __init__(self, path: str, seal: Seal, *, size: int = 0, durable: bool = False) -> None:
        self.path = os.path.abspath(path)
        self.state = ""
        """``intact`` or ``broken`` when last checked; empty before the first check."""
        self.breaks: deque[str] = deque(maxlen=8)
        """Problems that this process was the first to find, until they are reported."""
        self._seal = seal
        self._size = size
        self._durable = durable
        self._files = LockedFiles(self.path)
        self._waiting: deque[_Entry] = deque()
        self.reset_after_fork()
        fork.register(f"audit file {self.path}", fork.Order.AUDIT_FILE, after_in_child=self.reset_after_fork)

    def reset_after_fork(self) -> None:
        """Reset locks and queue, at construction and in a forked child.

        The parent writes what waits, and its threads hold the locks that were copied.
        """
        self._files.close()
        self._gate = threads.allocate_lock()
        self._owner = 0
        self._waiting.clear()
        self._scan = Scan(self._seal)
        self._scanning = threads.allocate_lock()
        self._checked = False
        self._written: tuple[bytes, Head | None] = (b"", None)
        self._failing = False
        self._lost = 0

    def append(self, fields: Mapping[str, Any]) -> Link | None:
        """Append a line and return its link. On return the kernel has the line. Never raises.

        Returns:
            The link, or None if the line has to wait: for the disk, for another process, or because
            a signal handler has interrupted an append in this thread. Up to 1,000 waiting lines are
            written with the next one.
        """
        entry = _Entry(fields)
        self._waiting.append(entry)
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while entry.link is None and self._owner != threads.get_ident():
            if self._gate.acquire(False):
                self._run_exclusively(self._write_waiting)
                break
            if time.monotonic() > deadline:
                break
            # The thread that is writing may write this entry too. Waiting for the gate instead
            # would take longer, because locks are not fair.
            entry.written.acquire(True, _WAIT_SLICE_S)
        return entry.link

    def poll(self) -> str:
        """Check the next part of the file, for bounded time; return the state. Never raises."""
        if os.path.lexists(self.path + SUFFIX) and self._scanning.acquire(False):
            try:
                if self._owner != threads.get_ident() and self._gate.acquire(True, _LOCK_TIMEOUT_S):
                    self._run_exclusively(self._poll)
            finally:
                self._scanning.release()
        return self.state

    def _run_exclusively(self, work: Callable[[], None]) -> None:
        """Call ``work`` in the thread that holds the gate, and release the gate.

        Appends of signal handlers in this thread only enqueue meanwhile.
        """
        gate = self._gate
        self._owner = threads.get_ident()
        try:
            work()
            if self._failing:
                self._failing = False
                say(f"audit file {self.path} is written again; {self._lost} events are missing in it", code="OD621")
        except OSError as error:
            self._fail(error)
        finally:
            self._owner = 0
            gate.release()

    def _fail(self, error: OSError) -> None:
        while len(self._waiting) > _MAX_WAITING:
            self._waiting.popleft()
            self._lost += 1
        if not self._failing:
            self._failing = True
            say(
                f"audit events cannot be written to {self.path}: {error.strerror or error}; "
                f"up to {_MAX_WAITING} wait for the file, and all are exported",
                cause=f"audit file {self.path}",
                code="OD620",
            )

    def _write_waiting(self) -> None:
        for _ in range(_MAX_BATCHES):
            if not self._waiting:
                break
            entries: list[_Entry] = []
            with self._files:
                try:
                    while self._waiting:
                        entries.append(self._waiting.popleft())
                    self._write(entries, self._find_end(""))
                except OSError:
                    self._waiting.extendleft(reversed(entries))
                    raise

    def _poll(self) -> None:
        with self._files:
            end = self._find_end("")
            if end.problem:
                self._write([], end)
                return
            self.state = end.state
            descriptor = self._files.duplicate()
        try:
            # Without the lock: lines before the end of the chain do not change.
            problem = self._scan.poll(descriptor, end.size) if end.state == INTACT else ""
        finally:
            os.close(descriptor)
        if problem:
            with self._files:
                self._write([], self._find_end(problem))

    def _write(self, entries: list[_Entry], end: _End) -> None:
        lines: list[bytes] = []
        link = end.link
        if end.problem and end.size and self._files.read(1, end.size - 1) != b"\n":
            lines.append(b"\n")
        if end.cause:
            text, link = self._seal.seal(link, self._first_line(end), START)
            lines.append(text)
        links: list[Link] = []
        for entry in entries:
            text, link = self._seal.seal(link, entry.fields)
            links.append(link)
            lines.append(text)
        full = bool(self._size) and end.size + sum(map(len, lines)) > self._size and self._files.can_rotate()
        if full:
            last_line = _chain_event("audit.chain.end", "This file ends; the chain continues in the next one.")
            text, link = self._seal.seal(link, last_line, END)
            lines.append(text)
        body = b"".join(lines)
        self._files.append(body, end.size, durable=self._durable)
        self._write_head(Head(link, end.size + len(body), end.state, full, self._seal.key_id))
        for entry, at in zip(entries, links, strict=True):
            entry.link = at
            entry.written.release()
        if end.problem and not end.known:
            self.breaks.append(end.problem)
        self.state = end.state
        if full:
            self._files.rotate(link.sequence)

    def _write_head(self, head: Head) -> None:
        raw = head.to_bytes(self._seal)
        self._files.write_head(raw)
        self._written = (raw, head)

    def _read_head(self) -> tuple[bytes, Head | None]:
        raw = self._files.read_head()
        # Usually it is the head that this process has written itself: no need to parse it.
        return raw, self._written[1] if raw == self._written[0] else read_head(raw, self._seal)

    def _first_line(self, end: _End) -> dict[str, Any]:
        body = {
            "new": "A new chain begins.",
            "continued": "The chain continues from an earlier file.",
            "broken": f"The chain was found broken: {end.problem}. It restarts here.",
        }[end.cause]
        return {**self._seal.header(end.cause), **_chain_event("audit.chain.start", body)}

    def _find_end(self, found: str) -> _End:
        """Check what was written or changed since the last time; return the end of the chain.

        ``found``: a problem that a scan has found.
        """
        (raw, head), size = self._read_head(), self._files.size
        if head is None and not raw and not size:
            # Written before the first line: a file with lines and without a head has lost its head.
            head = Head(Link(0, ZERO_HASH), 0, INTACT, False, self._seal.key_id)
            self._write_head(head)
        if head is None:
            return _End(self._last_readable(size), size, BROKEN, "broken", _HEAD_LOST)
        if head.key_id != self._seal.key_id:
            # Nothing proves this file. The owner of the other key must still be able to verify it.
            if self.state != BROKEN:
                self.state = BROKEN
                self.breaks.append(_OTHER_KEY)
            raise OSError(errno.EKEYREJECTED, f"{_OTHER_KEY}; move it and its head away to begin a new chain")
        if size and head.ended and size == head.size:
            self._files.rotate(head.link.sequence)
            size = 0
        if not size:
            return _End(head.link, 0, head.state, "continued" if head.link.sequence else "new")
        found = found or ("lines are missing at its end" if size < head.size else "") or self._check_tail(head)
        if found:
            return _End(head.link, size, BROKEN, "broken", found, head.state == BROKEN)
        return self._recover(head, size)

    def _check_tail(self, head: Head) -> str:
        """Check the last 64 KiB of the chain, once per process; return the problem."""
        if self._checked:
            return ""
        self._checked = True
        begin = max(0, head.size - _TAIL_BYTES)
        lines = self._files.read(head.size - begin, begin).split(b"\n")
        check = ChainCheck(self._seal)
        for text in lines[1 if begin else 0 : -1]:
            if (problem := check.step(text)) and head.state != BROKEN:
                return f"a line near its end {problem}"
        return "" if check.last in (head.link, None) and not lines[-1] else "its last line was replaced"

    def _recover(self, head: Head, size: int) -> _End:
        """Accept lines that a killed process wrote without updating the head.

        An incomplete line at the end is removed.
        """
        check, end = ChainCheck(self._seal, head.link), head.size
        while len(lines := self._files.read(MAX_LINE_BYTES, end).split(b"\n")) > 1:
            for text in lines[:-1]:
                if problem := check.step(text):
                    problem = f"a line after its end {problem}"
                    return _End(head.link, size, BROKEN, "broken", problem, head.state == BROKEN)
                end += len(text) + 1
        if end < size:
            say(
                f"audit file {self.path}: an incomplete line at its end, left by a killed process, was removed",
                code="OD622",
            )
            self._files.truncate(end)
        link = check.last or head.link
        if check.ended:
            self._files.rotate(link.sequence)
            return _End(link, 0, head.state, "continued")
        return _End(link, end, head.state)

    def _last_readable(self, size: int) -> Link:
        tail = self._files.read(min(size, MAX_LINE_BYTES), max(0, size - MAX_LINE_BYTES))
        for text in reversed(tail.split(b"\n")):
            if (parsed := self._seal.parse(text)) is not None:
                return parsed.link
        return Link(0, ZERO_HASH)


def _chain_event(event_name: str, body: str) -> dict[str, Any]:
    return {"timestamp": iso(time.time_ns()), "event_name": event_name, "body": body, "process_pid": os.getpid()}
