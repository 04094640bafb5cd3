"""The audit file and its head while one process has them: opened for the moment, locked, and closed again.

Nothing stays open, so a forked child has no share in a lock, and a file that was moved is not written to any more.
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

_PATIENCE: Final = 2.0


class Files:
    """``with Files(path) as files:`` no other process has them meanwhile. Everything raises ``OSError``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._head = -1
        self._file = -1

    def __enter__(self) -> Files:
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
        """Close both. A forked child closes what it has inherited, and leaves its parent the lock."""
        head, self._head, file, self._file = self._head, -1, self._file, -1
        if head >= 0:
            if unlock:
                fcntl.flock(head, fcntl.LOCK_UN)
            os.close(head)
        if file >= 0:
            os.close(file)

    def _lock(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        name = self.path + SUFFIX
        while True:
            self._head = open_shared(name)
            lock_file(self._head, deadline - time.monotonic())
            try:
                if os.path.samestat(os.fstat(self._head), os.stat(name, follow_symlinks=False)):
                    return
            except FileNotFoundError:
                pass
            # It was moved away in this very moment.
            self.close()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file).st_size

    def read(self, length: int, offset: int) -> bytes:
        """Return that part of the file, shorter at its end."""
        return os.pread(self._file, length, offset)

    def duplicate(self) -> int:
        """Return a descriptor of the file that stays open."""
        return os.dup(self._file)

    def read_head(self) -> bytes:
        """Return the content of the head, empty where there was none."""
        return os.pread(self._head, SIZE + 1, 0)

    def write_head(self, raw: bytes) -> None:
        """Write the head over; what stood beyond it goes."""
        os.pwrite(self._head, raw, 0)
        if os.pread(self._head, 1, SIZE):
            os.ftruncate(self._head, SIZE)

    def append(self, body: bytes, before: int, *, durable: bool) -> None:
        """Append to a file of ``before`` bytes, wholly or not at all. ``durable``: wait for the disk itself."""
        append_whole(self._file, body, before)
        if durable:
            try:
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise

    def cut(self, size: int) -> None:
        """Take out what stands after the first ``size`` bytes."""
        os.ftruncate(self._file, size)

    def can_put_away(self) -> bool:
        """Return whether the file can be renamed."""
        return os.access(os.path.dirname(self.path), os.W_OK)

    def put_away(self, sequence: int) -> None:
        """Rename the file after its last line and open an empty one in its place."""
        os.rename(self.path, f"{self.path}.{sequence:012d}")
        os.close(self._file)
        self._file = -1
        self._file = open_shared(self.path, os.O_APPEND)
