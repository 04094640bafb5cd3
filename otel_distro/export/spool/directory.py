"""The folders of the spool, safe access to their files, and the ownership of segments.

Telemetry at rest is as secret as the application's data. So the spool is in the user's own state
directory, in folders that no other user may write, and never in a shared temporary one: there
another user could read it, fill it, or plant bodies that this process would send under its own
name. Each access walks down by descriptors, follows no symbolic link and checks the owner of each
folder.

The process that holds the ``flock`` of a segment owns it. The kernel releases the lock when the
process ends, however it ends, and the next process to get the lock is the owner. Pid and name do
not matter.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from typing import TYPE_CHECKING

from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.state_files import is_private_file, open_safely
from otel_distro.export.spool.segment import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SPOOL_FOLDER = ("otel-distro", "spool")
_TARGET = "target"
"""Name of the file with the URLs of the destination, for people."""

REJECTED = "rejected"
"""Name of the folder of dead letters."""

_SEGMENT = re.compile(r"(\d{1,20})-\d{1,10}-([0-9a-f]{16})\.([a-z]{1,12})\.seg", re.ASCII)
_MAX_REJECTED_FILES = 1000
_MAX_TARGET_BYTES = 4096
_CREATE_ATTEMPTS = 8
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Directory:
    """The folder of one destination. It is created together with its first segment.

    Args:
        base: The user's state directory.
        key: The name of the folder.
        origins: What to write into the file ``target``.
    """

    def __init__(self, base: str, key: str, origins: Iterable[str] = ()) -> None:
        self.base = base
        self.key = key
        self.path = os.path.join(base, *_SPOOL_FOLDER, key)
        self._origins = tuple(origins)

    def open(self, *, create: bool = False, below: tuple[str, ...] = ()) -> int:
        """Return a descriptor of the folder, or of one below it, which the caller closes.

        Raises:
            OSError: It does not exist, or another user may change it.
        """
        return open_safely(self.base, (*_SPOOL_FOLDER, self.key, *below), create=create)

    def segments(self) -> list[Entry]:
        """Return the segments of all processes, oldest first. Raises ``OSError``."""
        try:
            folder = self.open()
        except FileNotFoundError:
            return []
        entries = []
        try:
            with os.scandir(folder) as listing:
                for item in listing:
                    if not item.name.endswith(".seg"):
                        continue
                    try:
                        found = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(found.st_mode):
                        entries.append(_entry(item.name, found))
                    else:
                        say(
                            f"{self.path}/{item.name!r} is not a regular file: ignored",
                            cause=f"planted {self.path}",
                            code="OD308",
                        )
        finally:
            os.close(folder)
        return sorted(entries, key=lambda entry: (entry.stamp, entry.name))

    def create(self, stamp: int, signal: str, *, durable: bool = False) -> tuple[Entry, int]:
        """Create an empty segment and return it with its locked descriptor. Raises ``OSError``."""
        folder = self.open(create=True)
        try:
            self._write_target(folder)
            for _ in range(_CREATE_ATTEMPTS):
                marker = os.urandom(8)
                name = f"{stamp:019d}-{os.getpid()}-{marker.hex()}.{signal}.seg"
                descriptor = _above_standard_streams(
                    os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
                )
                try:
                    if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                        if durable:
                            os.fsync(folder)
                        return Entry(name, stamp, signal, marker, 0), descriptor
                except OSError:
                    os.close(descriptor)
                    os.unlink(name, dir_fd=folder)
                    raise
                # Another process locked the new file first, as an orphan, and removes it.
                os.close(descriptor)
            raise BlockingIOError("other processes lock every new segment")
        finally:
            os.close(folder)

    def claim(self, entry: Entry, folder: int) -> int | None:
        """Lock a segment whose owner has ended.

        Links, FIFOs, devices and files of other users are never opened.

        Args:
            entry: The segment.
            folder: A descriptor from :meth:`open`.

        Returns:
            A locked descriptor, None if another process holds the lock or it is not a regular file
            of this user with one name.
        """
        try:
            if not is_private_file(os.lstat(entry.name, dir_fd=folder)):
                return None
            descriptor = _above_standard_streams(os.open(entry.name, _FILE, dir_fd=folder))
        except OSError:
            return None
        try:
            # A file without a name was delivered and deleted between the listing and the lock.
            if _lock(descriptor) and is_private_file(os.fstat(descriptor)):
                return descriptor
        except OSError as error:
            say(
                f"cannot lock files in {self.path} ({error}): what ended processes left there is not sent",
                cause=f"lock {self.path}",
                code="OD309",
            )
        os.close(descriptor)
        return None

    def remove(self, name: str) -> None:
        """Delete a segment that this process has locked. Raises ``OSError``."""
        folder = self.open()
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        finally:
            os.close(folder)

    def write_rejected(self, name: str, facts: Mapping[str, object], body: bytes, limit: int) -> None:
        """Write a dead letter: a line of JSON with the facts, then the body.

        All dead letters together take at most ``limit`` bytes; the oldest are deleted first. Raises
        ``OSError``.
        """
        import json

        folder = self.open(create=True, below=(REJECTED,))
        try:
            descriptor = _above_standard_streams(os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
            try:
                os.write(descriptor, json.dumps(facts).encode() + b"\n" + body[: max(0, limit)])
            finally:
                os.close(descriptor)
            with os.scandir(folder) as listing:
                files = [(item.name, item.stat(follow_symlinks=False)) for item in listing]
            sizes = sorted(
                ((name, found.st_size) for name, found in files if stat.S_ISREG(found.st_mode)), reverse=True
            )
            total = 0
            for position, (old, size) in enumerate(sizes):
                total += size
                if (total > limit or position >= _MAX_REJECTED_FILES) and position:
                    os.unlink(old, dir_fd=folder)
        finally:
            os.close(folder)

    def _write_target(self, folder: int) -> None:
        """Write the URLs of the destination into a file, for people."""
        if not self._origins:
            return
        try:
            descriptor = _above_standard_streams(os.open(_TARGET, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
        except FileExistsError:
            return
        try:
            os.write(descriptor, "".join(f"{origin}\n" for origin in self._origins).encode())
        finally:
            os.close(descriptor)


def destinations(base: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the key of each destination that has a folder, and its URLs. Creates nothing."""
    root = os.path.join(base, *_SPOOL_FOLDER)
    found = []
    try:
        keys = sorted(os.listdir(root))
    except OSError:
        return []
    for key in keys:
        try:
            folder = Directory(base, key).open()
        except OSError:
            continue
        try:
            descriptor = os.open(_TARGET, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
            try:
                text = os.read(descriptor, _MAX_TARGET_BYTES).decode("utf-8", "replace")
            finally:
                os.close(descriptor)
        except OSError:
            text = ""
        finally:
            os.close(folder)
        found.append((key, tuple(line for line in text.splitlines() if line.strip() and line.isprintable())))
    return found


def _entry(name: str, found: os.stat_result) -> Entry:
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return Entry(name, found.st_mtime_ns, "", b"", found.st_size)
    return Entry(name, int(match[1]), match[3], bytes.fromhex(match[2]), found.st_size)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _above_standard_streams(descriptor: int) -> int:
    """Move a descriptor above 2.

    A program started without standard streams would print into the file otherwise.
    """
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)
