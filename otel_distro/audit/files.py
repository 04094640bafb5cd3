"""The audit file and its head, opened, locked and closed for each access.

Nothing stays open: a forked child shares no lock, and a file that was moved is not written to.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Final

from otel_distro._runtime.files import append_whole, lock_file, open_shared
from otel_distro.audit.head import SIZE, SUFFIX

if TYPE_CHECKING:
    from types import TracebackType

_LOCK_TIMEOUT_S: Final = 2.0
"""How long to wait for another process that holds the lock."""


class LockedFiles:
    """``with LockedFiles(path) as files:`` holds the lock. Methods raise ``OSError``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._head = -1
        self._file = -1

    def __enter__(self) -> LockedFiles:
        try:
            self._lock()
            self._file = open_shared(self.path, os.O_APPEND)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close(unlock=True)

    def close(self, *, unlock: bool = False) -> None:
        """Close both files. A forked child closes inherited ones without unlocking the parent's."""
        head, self._head, file, self._file = self._head, -1, self._file, -1
        if head >= 0:
            if unlock:
                fcntl.flock(head, fcntl.LOCK_UN)
            os.close(head)
        if file >= 0:
            os.close(file)

    def _lock(self) -> None:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        name = self.path + SUFFIX
        while True:
            self._head = open_shared(name)
            lock_file(self._head, deadline - time.monotonic())
            try:
                if os.path.samestat(os.fstat(self._head), os.stat(name, follow_symlinks=False)):
                    return
            except FileNotFoundError:
                pass
            # The head was moved between opening and locking: open the new one.
            self.close()

    @property
    def size(self) -> int:
        """Size of the audit file in bytes."""
        return os.fstat(self._file).st_size

    def read(self, length: int, offset: int) -> bytes:
        """Return ``length`` bytes at ``offset``, fewer at the end of the file."""
        return os.pread(self._file, length, offset)

    def duplicate(self) -> int:
        """Return a descriptor of the audit file that stays open; the caller closes it."""
        return os.dup(self._file)

    def read_head(self) -> bytes:
        """Return the content of the head, empty for a new one."""
        return os.pread(self._head, SIZE + 1, 0)

    def write_head(self, raw: bytes) -> None:
        """Overwrite the head, and truncate it to its size."""
        os.pwrite(self._head, raw, 0)
        if os.pread(self._head, 1, SIZE):
            os.ftruncate(self._head, SIZE)

    def append(self, body: bytes, before: int, *, durable: bool) -> None:
        """Append to a file of ``before`` bytes, completely or not at all. ``durable``: fsync."""
        append_whole(self._file, body, before)
        if durable:
            try:
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def truncate(self, size: int) -> None:
        """Remove everything after the first ``size`` bytes."""
        os.ftruncate(self._file, size)

    def can_rotate(self) -> bool:
        """Return whether the file can be renamed."""
        return os.access(os.path.dirname(self.path), os.W_OK)

    def rotate(self, sequence: int) -> None:
        """Rename the file to its name and ``sequence``, its last line, and open an empty one."""
        os.rename(self.path, f"{self.path}.{sequence:012d}")
        os.close(self._file)
        self._file = -1
        self._file = open_shared(self.path, os.O_APPEND)
