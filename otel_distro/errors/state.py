"""The small files that errors leave for the next process, beside the spool: private, no links followed."""

from __future__ import annotations

import os
from typing import Final

from otel_distro.export import spool_directory
from otel_distro.export.spool_directory import plain, state_home

_FOLDERS: Final = ("otel-distro", "errors")


def open_folder(*, create: bool = True) -> int:
    """Return a descriptor of the folder, which the caller closes. Raises ``OSError`` where it cannot be trusted."""
    base = state_home(os.environ)
    if create:
        os.makedirs(base, 0o700, exist_ok=True)
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        spool_directory._check_base(base, descriptor)
        for name in _FOLDERS:
            descriptor = spool_directory._descend(descriptor, name, create=create)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_file(name: str, flags: int) -> int:
    """Open one of the files. Raises ``OSError``, ``PermissionError`` for one that is not a plain file of this user's."""
    folder = open_folder()
    try:
        return open_below(folder, name, flags)
    finally:
        os.close(folder)


def open_below(folder: int, name: str, flags: int) -> int:
    """Open a file in an open folder, as :func:`open_file` does."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600, dir_fd=folder)
    found = os.fstat(descriptor)
    if not plain(found) or found.st_mode & 0o022:
        os.close(descriptor)
        raise PermissionError(f"{name} is not a private file of this user's")
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises ``OSError``."""
    while data:
        data = data[os.write(descriptor, data) :]
