"""Private files in the user's state directory.

Each access walks down by descriptors that follow no symbolic link, and checks on the way that no
other user owns or may write what it passes.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PRIVATE_MODE: Final = 0o700


def state_home(environ: Mapping[str, str]) -> str:
    """Return the user's state directory.

    Source: https://specifications.freedesktop.org/basedir-spec/latest/

    Args:
        environ: The environment, of which ``XDG_STATE_HOME`` and ``HOME`` count.

    Raises:
        FileNotFoundError: The user has no home directory.
    """
    path = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(path):
        return path
    home = environ.get("HOME", "")
    if not os.path.isabs(home):
        import pwd

        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            home = ""
    if not os.path.isabs(home):
        raise FileNotFoundError("the user has no home directory; set XDG_STATE_HOME")
    return os.path.join(home, ".local", "state")


def open_safely(base: str, names: Iterable[str], *, create: bool) -> int:
    """Open a directory below ``base`` and return its descriptor, which the caller closes.

    Args:
        base: A directory of this user, or of root.
        names: The directories below it, from the outer to the inner.
        create: Create what is missing.

    Raises:
        OSError: A directory is missing, or another user may change it.
    """
    if create:
        os.makedirs(base, _PRIVATE_MODE, exist_ok=True)
    descriptor = os.open(base, _DIRECTORY)
    try:
        _check_owner(base, descriptor)
        for name in names:
            descriptor = _descend(descriptor, name, create=create)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_private_file(found: os.stat_result) -> bool:
    """Return whether this is a regular file of this user with one link: a second may be a trap."""
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1


def _check_owner(base: str, descriptor: int) -> None:
    """Raise ``PermissionError`` for another user's directory: ``sudo`` may keep HOME, for one."""
    if os.fstat(descriptor).st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{base} belongs to another user")


def _descend(parent: int, name: str, *, create: bool) -> int:
    """Open a subdirectory and close its parent.

    Raises ``OSError``, with the parent left open, if it is not safe.
    """
    if create:
        # What exists is checked next.
        with suppress(FileExistsError):
            os.mkdir(name, _PRIVATE_MODE, dir_fd=parent)
    child = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    found = os.fstat(child)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(child)
        raise PermissionError(f"{name!r} belongs to another user or is writable by others")
    os.close(parent)
    return child
