"""Files that several processes append to: no link is followed, one process at a time writes, and a write is whole or none.

What is done here raises ``OSError``. Importing this imports nothing of OpenTelemetry.
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
_NAP: Final = 0.0005


def open_shared(path: str, flags: int = 0) -> int:
    """Open a file, which is made where it is not there, and its folder with it. Raises ``OSError`` for what is no regular file."""
    try:
        descriptor = os.open(path, _OPEN | flags, _MODE)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        descriptor = os.open(path, _OPEN | flags, _MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return descriptor


def hold(descriptor: int, patience: float) -> None:
    """Take the ``flock`` of a file. Raises ``TimeoutError`` where another process has it for ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock") from None
            threads.nap(_NAP)
        else:
            return


def append_whole(descriptor: int, body: bytes, before: int) -> None:
    """Append to a locked file of ``before`` bytes, wholly or not at all."""
    written = 0
    try:
        while written < len(body):
            written += os.write(descriptor, body[written:])
    except OSError:
        os.ftruncate(descriptor, before)
        raise
