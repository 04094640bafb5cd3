"""Files in the state folder that error tracking shares with later processes.

They lie beside the spool, are private to the user, and symbolic links are not followed.
"""

from __future__ import annotations

import os
from typing import Final

from otel_distro._runtime.state_files import is_private_file, open_safely, state_home

_FOLDERS: Final = ("otel-distro", "errors")


def open_folder(*, create: bool = True) -> int:
    """Return a descriptor of the folder, which the caller closes.

    Raises:
        OSError: It cannot be opened, or other users can change it.
    """
    return open_safely(state_home(os.environ), _FOLDERS, create=create)


def open_file(name: str, flags: int) -> int:
    """Open one of the files.

    Raises:
        PermissionError: It is not a regular file that only this user can write.
        OSError: It cannot be opened.
    """
    folder = open_folder()
    try:
        return open_below(folder, name, flags)
    finally:
        os.close(folder)


def open_below(folder: int, name: str, flags: int) -> int:
    """Open a file relative to the descriptor of its folder, as :func:`open_file` does."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600, dir_fd=folder)
    found = os.fstat(descriptor)
    if not is_private_file(found) or found.st_mode & 0o022:
        os.close(descriptor)
        raise PermissionError(f"{name} is not a private file of this user's")
    return descriptor
