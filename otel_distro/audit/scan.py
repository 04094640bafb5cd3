"""Reads an audit file again and again, a piece at a time, so that a change anywhere in it is found while it is in use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from otel_distro.audit.seal import LONGEST_LINE, Walk, header_of

if TYPE_CHECKING:
    from otel_distro.audit.seal import Seal

_PIECE: Final = 256 * 1024


class Scan:
    """One reader; it begins again when it has come to the end, unless nothing was written meanwhile."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._inode = -1
        self._unchanged = 0
        self._restart()

    def _restart(self) -> None:
        self._offset = 0
        self._line = 0
        self._walk = Walk(self._seal)

    def look(self, descriptor: int, end: int) -> str:
        """Read on, at most a quarter of a megabyte and not beyond ``end``; return what is wrong there, in words, else nothing."""
        found = os.fstat(descriptor)
        if found.st_ino != self._inode or self._offset > end:
            self._inode, self._unchanged = found.st_ino, 0
            self._restart()
        if self._offset == 0:
            if found.st_ctime_ns == self._unchanged:
                return ""
            self._unchanged = found.st_ctime_ns
        piece = os.pread(descriptor, min(_PIECE, end - self._offset), self._offset)
        if b"\n" not in piece:
            piece = os.pread(descriptor, min(LONGEST_LINE, end - self._offset), self._offset)
        lines = piece.split(b"\n")[:-1]
        if piece and not lines:
            return f"line {self._line + 1} has no end"
        for text in lines:
            self._line += 1
            problem = self._walk.step(text)
            if self._line == 1 and header_of(text) is None:
                problem = "is not the beginning of a file"
            if problem:
                return f"line {self._line} {problem}"
            self._offset += len(text) + 1
        if self._offset >= end:
            self._restart()
        return ""
