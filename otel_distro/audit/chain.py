"""The audit file: lines chained by hashes that several processes append to, one at a time.

Whoever appends holds the lock of the head, writes the lines and then the head. A process that is killed in between leaves a
file longer than its head says; who comes next reads on from there. A file that is shorter, or otherwise than it was
left, is a broken chain: a line of the file says so, and the chain goes on after it.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_distro._runtime import fork, threads
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.json_lines import iso
from otel_distro.audit.files import Files
from otel_distro.audit.head import BROKEN, INTACT, SUFFIX, Head, read_head
from otel_distro.audit.scan import Scan
from otel_distro.audit.seal import END, LONGEST_LINE, NOTHING, START, Link, Seal, Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PATIENCE: Final = 2.0
_TURN: Final = 0.001
_MOST_TURNS: Final = 8
_TAIL: Final = 64 * 1024
_MOST_WAITING: Final = 1000
_HEAD_GONE: Final = "its head was changed or is missing"
_FOREIGN: Final = "it is sealed with another key, or with none"


@dataclass
class _End:
    """Where the next line goes. ``cause``: why a first line is due. ``problem``: what broke; ``known``: not the first time."""

    link: Link
    size: int
    state: str
    cause: str = ""
    problem: str = ""
    known: bool = False


class _Entry:
    """Fields that are to become a line, and the line's link once they are."""

    __slots__ = ("fields", "link", "written")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.link: Link | None = None
        self.written = threads.allocate_lock()
        self.written.acquire()


class AuditFile:
    """Appends to the chain at ``path``. ``size``: bytes after which the file is put away, 0 for never.

    ``durable``: whether each line waits for the disk itself.
    """

    def __init__(self, path: str, seal: Seal, *, size: int = 0, durable: bool = False) -> None:
        self.path = os.path.abspath(path)
        self.state = ""
        """``intact`` or ``broken``, as it was last seen; empty where nothing was seen yet."""
        self.breaks: deque[str] = deque(maxlen=8)
        """What this process was the first to find, in words; whoever tells of it takes it out."""
        self._seal = seal
        self._size = size
        self._durable = durable
        self._files = Files(self.path)
        self._waiting: deque[_Entry] = deque()
        self.reset_after_fork()
        fork.register(f"audit file {self.path}", fork.Order.AUDIT_FILE, after_in_child=self.reset_after_fork)

    def reset_after_fork(self) -> None:
        """Start anew, in a forked child too: what waits, and who holds which lock, is the parent's."""
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
        """Append a line and return its link; on return the kernel has it. Never raises.

        None where it has to wait: for the disk, for another process, or for the very append that it came into (from a
        signal handler, for one). What waits goes with the next line, up to a thousand lines.
        """
        entry = _Entry(fields)
        self._waiting.append(entry)
        deadline = time.monotonic() + _PATIENCE
        while entry.link is None and self._owner != threads.get_ident():
            if self._gate.acquire(False):
                self._alone(self._write_waiting)
                break
            if time.monotonic() > deadline:
                break
            # Whoever is writing may take it along; locks are not fair, and this one would be got too late.
            entry.written.acquire(True, _TURN)
        return entry.link

    def look(self) -> str:
        """Read on in the file for a bounded time, from where the last look ended, and return the state. Never raises."""
        if os.path.lexists(self.path + SUFFIX) and self._scanning.acquire(False):
            try:
                if self._owner != threads.get_ident() and self._gate.acquire(True, _PATIENCE):
                    self._alone(self._look)
            finally:
                self._scanning.release()
        return self.state

    def _alone(self, work: Callable[[], None]) -> None:
        """Do it in the thread that has the gate, and release it. What comes meanwhile in the same thread is left to it."""
        gate = self._gate
        self._owner = threads.get_ident()
        try:
            work()
            if self._failing:
                self._failing = False
                say(f"audit file {self.path} is written again; {self._lost} events are missing in it")
        except OSError as error:
            self._fail(error)
        finally:
            self._owner = 0
            gate.release()

    def _fail(self, error: OSError) -> None:
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
        if not self._failing:
            self._failing = True
            say(
                f"audit events cannot be written to {self.path}: {error.strerror or error}; they wait, and are sent all the same",
                cause=f"audit file {self.path}",
            )

    def _write_waiting(self) -> None:
        for _ in range(_MOST_TURNS):
            if not self._waiting:
                break
            entries: list[_Entry] = []
            with self._files:
                try:
                    while self._waiting:
                        entries.append(self._waiting.popleft())
                    self._write(entries, self._end(""))
                except OSError:
                    self._waiting.extendleft(reversed(entries))
                    raise

    def _look(self) -> None:
        with self._files:
            end = self._end("")
            if end.problem:
                self._write([], end)
                return
            self.state = end.state
            descriptor = self._files.duplicate()
        try:
            # Without the lock: what stands before the end of the chain does not change any more.
            problem = self._scan.look(descriptor, end.size) if end.state == INTACT else ""
        finally:
            os.close(descriptor)
        if problem:
            with self._files:
                self._write([], self._end(problem))

    def _write(self, entries: list[_Entry], end: _End) -> None:
        lines: list[bytes] = []
        link = end.link
        if end.problem and end.size and self._files.read(1, end.size - 1) != b"\n":
            lines.append(b"\n")
        if end.cause:
            text, link = self._seal.seal(link, self._first(end), START)
            lines.append(text)
        links: list[Link] = []
        for entry in entries:
            text, link = self._seal.seal(link, entry.fields)
            links.append(link)
            lines.append(text)
        full = bool(self._size) and end.size + sum(map(len, lines)) > self._size and self._files.can_put_away()
        if full:
            text, link = self._seal.seal(link, _said("audit.chain.end", "The file ends; the next one goes on."), END)
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
            self._files.put_away(link.sequence)

    def _write_head(self, head: Head) -> None:
        raw = head.to_bytes(self._seal)
        self._files.write_head(raw)
        self._written = (raw, head)

    def _read_head(self) -> tuple[bytes, Head | None]:
        raw = self._files.read_head()
        # Mostly it is the one that this process has written itself.
        return raw, self._written[1] if raw == self._written[0] else read_head(raw, self._seal)

    def _first(self, end: _End) -> dict[str, Any]:
        said = {
            "new": "A new chain begins.",
            "continued": "The chain goes on from an earlier file.",
            "broken": f"The chain was found broken: {end.problem}. It is begun anew here.",
        }[end.cause]
        return {**self._seal.header(end.cause), **_said("audit.chain.start", said)}

    def _end(self, found: str) -> _End:
        """Return the end of the chain, after what others and the past have done to it. ``found``: what a scan has found."""
        (raw, head), size = self._read_head(), self._files.size
        if head is None and not raw and not size:
            # Before the first line: a file that has lines and no head has lost it.
            head = Head(Link(0, NOTHING), 0, INTACT, False, self._seal.key_id)
            self._write_head(head)
        if head is None:
            return _End(self._last_readable(size), size, BROKEN, "broken", _HEAD_GONE)
        if head.key_id != self._seal.key_id:
            # Nothing proves what it says, and whoever has the other key is still to be able to verify it.
            if self.state != BROKEN:
                self.state = BROKEN
                self.breaks.append(_FOREIGN)
            raise OSError(errno.EKEYREJECTED, f"{_FOREIGN}; move it and its head away to begin a new chain")
        if size and head.ended and size == head.size:
            self._files.put_away(head.link.sequence)
            size = 0
        if not size:
            return _End(head.link, 0, head.state, "continued" if head.link.sequence else "new")
        found = found or ("lines are missing at its end" if size < head.size else "") or self._check_tail(head)
        if found:
            return _End(head.link, size, BROKEN, "broken", found, head.state == BROKEN)
        return self._read_on(head, size)

    def _check_tail(self, head: Head) -> str:
        """Check, once in a process, the last lines before the end of the chain: what a first look can afford."""
        if self._checked:
            return ""
        self._checked = True
        begin = max(0, head.size - _TAIL)
        lines = self._files.read(head.size - begin, begin).split(b"\n")
        walk = Walk(self._seal)
        for text in lines[1 if begin else 0 : -1]:
            if (problem := walk.step(text)) and head.state != BROKEN:
                return f"a line near its end {problem}"
        return "" if walk.at in (head.link, None) and not lines[-1] else "its last line is another one"

    def _read_on(self, head: Head, size: int) -> _End:
        """Take up what a process that was killed had written before it came to the head; half a line is taken out."""
        walk, end = Walk(self._seal, head.link), head.size
        while len(lines := self._files.read(LONGEST_LINE, end).split(b"\n")) > 1:
            for text in lines[:-1]:
                if problem := walk.step(text):
                    said = f"a line after its end {problem}"
                    return _End(head.link, size, BROKEN, "broken", said, head.state == BROKEN)
                end += len(text) + 1
        if end < size:
            say(f"audit file {self.path}: half a line at its end, of a process that was killed, is taken out")
            self._files.cut(end)
        link = walk.at or head.link
        if walk.ended:
            self._files.put_away(link.sequence)
            return _End(link, 0, head.state, "continued")
        return _End(link, end, head.state)

    def _last_readable(self, size: int) -> Link:
        tail = self._files.read(min(size, LONGEST_LINE), max(0, size - LONGEST_LINE))
        for text in reversed(tail.split(b"\n")):
            if (read := self._seal.read(text)) is not None:
                return read.link
        return Link(0, NOTHING)


def _said(event_name: str, body: str) -> dict[str, Any]:
    return {"timestamp": iso(time.time_ns()), "event_name": event_name, "body": body, "process_pid": os.getpid()}
