"""Files that several processes append to, one at a time.

Opening follows no symbolic link, a writer holds the ``flock`` of the file, and each write is
complete or undone. The functions raise ``OSError``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from typing import Final

from otel_distro._runtime import threads

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE: Final = 0o600
_POLL_INTERVAL_S: Final = 0.0005


def open_shared(path: str, flags: int = 0) -> int:
    """Open a file and return its descriptor; create it, and its directory, where it is missing.

    Args:
        path: The file.
        flags: Added to the flags of ``os.open``.

    Raises:
        OSError: It is not a regular file, or cannot be opened.
    """
    try:
        descriptor = os.open(path, _OPEN | flags, _MODE)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        descriptor = os.open(path, _OPEN | flags, _MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor


def lock_file(descriptor: int, timeout: float) -> None:
    """Acquire the ``flock`` of a file.

    Args:
        descriptor: The open file.
        timeout: Seconds to wait for another process that has the lock.

    Raises:
        TimeoutError: Another process still has the lock.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock") from None
            threads.nap(_POLL_INTERVAL_S)
        else:
            return


def append_whole(descriptor: int, body: bytes, before: int) -> None:
    """Append ``body`` to a locked file of ``before`` bytes.

    Where the disk takes only a part, remove that again.
    """
    written = 0
    try:
        while written < len(body):
            written += os.write(descriptor, body[written:])
    except OSError:
        os.ftruncate(descriptor, before)
        raise
