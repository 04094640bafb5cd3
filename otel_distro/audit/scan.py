"""Check an audit file repeatedly, one piece at a time, to find changes while it is in use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from otel_distro.audit.seal import MAX_LINE_BYTES, ChainCheck, header_of

if TYPE_CHECKING:
    from otel_distro.audit.seal import Seal

_PIECE_BYTES: Final = 256 * 1024


class Scan:
    """Reads the file to its end and starts again, unless it was not written to meanwhile."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._inode = -1
        self._unchanged = 0
        """Time of change of the file at the start of the pass, in nanoseconds."""
        self._restart()

    def _restart(self) -> None:
        self._offset = 0
        self._line = 0
        self._check = ChainCheck(self._seal)

    def poll(self, descriptor: int, end: int) -> str:
        """Check the next 256 KiB before offset ``end``; return the problem, empty if intact."""
        found = os.fstat(descriptor)
        if found.st_ino != self._inode or self._offset > end:
            self._inode, self._unchanged = found.st_ino, 0
            self._restart()
        if self._offset == 0:
            if found.st_ctime_ns == self._unchanged:
                return ""
            self._unchanged = found.st_ctime_ns
        piece = os.pread(descriptor, min(_PIECE_BYTES, end - self._offset), self._offset)
        if b"\n" not in piece:
            piece = os.pread(descriptor, min(MAX_LINE_BYTES, end - self._offset), self._offset)
        lines = piece.split(b"\n")[:-1]
        if piece and not lines:
            return f"line {self._line + 1} has no line end"
        for text in lines:
            self._line += 1
            problem = self._check.step(text)
            if self._line == 1 and header_of(text) is None:
                problem = "is not the first line of a file"
            if problem:
                return f"line {self._line} {problem}"
            self._offset += len(text) + 1
        if self._offset >= end:
            self._restart()
        return ""
