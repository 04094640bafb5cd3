"""Rotation of the log file: a full file is renamed, compressed by a thread, and the oldest deleted.

The thread may end at any time, with its process. A rotated file that is not compressed shows that
work is left, and the next process that opens the log does it. Of several processes the one does it
that holds the ``flock`` of the rotated file.
"""

from __future__ import annotations

import gzip
import os
import re
import time
from contextlib import suppress
from typing import Final

from otel_distro._runtime import fork
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.files import lock_file
from otel_distro._runtime.worker import Worker

_CHUNK_BYTES: Final = 256 * 1024
_GZIP_LEVEL: Final = 6
_LOCK_TIMEOUT_S: Final = 1.0
_IDLE_S: Final = 3600.0
_STAMP: Final = r"\.\d{8}T\d{6}\.\d{9}Z"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Archives:
    """The rotated files of a log, named ``<path>.<time>.gz``.

    Args:
        path: Path of the log.
        backup_count: Number of rotated files that are kept.
    """

    def __init__(self, path: str, backup_count: int) -> None:
        self._path = path
        self._folder, self._name = os.path.split(path)
        self._backup_count = backup_count
        self._pattern = re.compile(re.escape(self._name) + f"({_STAMP})" + r"(\.gz|\.gz\.part)?")
        self._worker = Worker("the thread that compresses log files", self._compress_and_delete)

    def rotate(self) -> bool:
        """Rename the log, or delete it if no rotated file is kept. Never raises.

        The caller holds the log's lock.

        Returns:
            Whether that worked.
        """
        try:
            if not self._backup_count:
                os.unlink(self._path)
                return True
            now = time.time_ns()
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 1_000_000_000))
            os.rename(self._path, f"{self._path}.{stamp}.{now % 1_000_000_000:09d}Z")
        except OSError as error:
            say(
                f"{self._path} cannot be rotated and keeps growing: {error.strerror or error}; no record is lost",
                cause=f"rotation of {self._path}",
                code="OD402",
            )
            return False
        self._start_worker()
        return True

    def resume(self) -> None:
        """Compress the rotated files that an earlier process has left uncompressed."""
        if any(not ending for _, ending in self._list()):
            self._start_worker()

    def stop(self) -> None:
        """Stop the thread."""
        self._worker.stop_and_join()
        self._worker.reset_after_fork()

    def _start_worker(self) -> None:
        fork.register(
            f"rotation of {self._path}",
            fork.Order.LOG_FILE_ROTATION,
            before=self._worker.stop_and_join,
            after_in_parent=self._restart_worker,
            after_in_child=self._worker.reset_after_fork,
        )
        self._worker.start()
        self._worker.notify()

    def _restart_worker(self) -> None:
        self._worker.restart()
        self._worker.notify()

    def _list(self) -> list[tuple[str, str]]:
        """Return time stamp and suffix of every rotated file, oldest first.

        A file that is not compressed yet has no suffix.
        """
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        matches = (self._pattern.fullmatch(name) for name in names if name.startswith(self._name))
        return sorted((match[1], match[2] or "") for match in matches if match is not None)

    def _compress_and_delete(self) -> float:
        found = self._list()
        stamps = sorted({stamp for stamp, ending in found if ending != ".gz.part"})
        expired = set(stamps[: -self._backup_count] if self._backup_count else stamps)
        for stamp, ending in found:
            if stamp in expired or (ending == ".gz.part" and stamp not in stamps):
                with suppress(OSError):
                    os.unlink(f"{self._path}{stamp}{ending}")
        for stamp, ending in found:
            if not ending and stamp not in expired and not self._worker.stopping:
                try:
                    self._compress(f"{self._path}{stamp}")
                except OSError as error:
                    say(
                        f"{self._path}{stamp} cannot be compressed and stays uncompressed: {error.strerror or error}",
                        cause=f"compression of {self._path}",
                        code="OD403",
                    )
        return _IDLE_S

    def _compress(self, path: str) -> None:
        part = f"{path}.gz.part"
        with open(os.open(path, _READ), "rb", buffering=0) as source:
            try:
                # A writer that has opened it before the rotation holds the lock for a moment.
                lock_file(source.fileno(), _LOCK_TIMEOUT_S)
            except TimeoutError:
                return
            if not os.path.exists(path):
                # Another process has compressed it.
                return
            try:
                with (
                    open(os.open(part, _WRITE, os.fstat(source.fileno()).st_mode & 0o777), "wb") as target,
                    gzip.GzipFile(self._name, "wb", _GZIP_LEVEL, target) as packed,
                ):
                    while chunk := source.read(_CHUNK_BYTES):
                        packed.write(chunk)
                        if self._worker.stopping:
                            raise InterruptedError
            except OSError as error:
                os.unlink(part)
                if isinstance(error, InterruptedError):
                    return
                raise
            os.rename(part, f"{path}.gz")
            os.unlink(path)
