"""What becomes of a log file that is full: renamed, compressed in a thread of its own, the oldest ones deleted.

The thread may end anywhere, with its process: a file that is not compressed yet is what says that work is left, and whoever
opens the log next does it. Of several processes one does, the one that holds the ``flock`` of that file.
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

_CHUNK: Final = 256 * 1024
_LEVEL: Final = 6
_PATIENCE: Final = 1.0
_IDLE: Final = 3600.0
_STAMP: Final = r"\.\d{8}T\d{6}\.\d{9}Z"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Archives:
    """The archives of the log at ``path``: ``keep`` of them stay, as ``<path>.<time>.gz``."""

    def __init__(self, path: str, keep: int) -> None:
        self._path = path
        self._folder, self._name = os.path.split(path)
        self._keep = keep
        self._pattern = re.compile(re.escape(self._name) + f"({_STAMP})" + r"(\.gz|\.gz\.part)?")
        self._worker = Worker("the thread that compresses log files", self._tidy)

    def put_away(self) -> bool:
        """Take the log, whose lock the caller holds, out of the way; False where that cannot be done. Never raises."""
        try:
            if not self._keep:
                os.unlink(self._path)
                return True
            now = time.time_ns()
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 1_000_000_000))
            os.rename(self._path, f"{self._path}.{stamp}.{now % 1_000_000_000:09d}Z")
        except OSError as error:
            say(
                f"{self._path} cannot be put away and grows: {error.strerror or error}",
                cause=f"rotation of {self._path}",
            )
            return False
        self._begin()
        return True

    def sweep(self) -> None:
        """Have done what an earlier process has left undone."""
        if any(not ending for _, ending in self._found()):
            self._begin()

    def stop(self) -> None:
        """Let the thread end."""
        self._worker.stop_and_join()
        self._worker.reset_after_fork()

    def _begin(self) -> None:
        fork.register(
            f"rotation of {self._path}",
            fork.Order.LOG_FILE_ROTATION,
            before=self._worker.stop_and_join,
            after_in_parent=self._call_back,
            after_in_child=self._worker.reset_after_fork,
        )
        self._worker.start()
        self._worker.notify()

    def _call_back(self) -> None:
        self._worker.restart()
        self._worker.notify()

    def _found(self) -> list[tuple[str, str]]:
        """Return stamp and ending of every archive, oldest first; an archive that is not compressed yet has no ending."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        matches = (self._pattern.fullmatch(name) for name in names if name.startswith(self._name))
        return sorted((match[1], match[2] or "") for match in matches if match is not None)

    def _tidy(self) -> float:
        found = self._found()
        stamps = sorted({stamp for stamp, ending in found if ending != ".gz.part"})
        gone = set(stamps[: -self._keep] if self._keep else stamps)
        for stamp, ending in found:
            if stamp in gone or (ending == ".gz.part" and stamp not in stamps):
                with suppress(OSError):
                    os.unlink(f"{self._path}{stamp}{ending}")
        for stamp, ending in found:
            if not ending and stamp not in gone and not self._worker.stopping:
                try:
                    self._compress(f"{self._path}{stamp}")
                except OSError as error:
                    say(
                        f"{self._path}{stamp} cannot be compressed and stays as it is: {error.strerror or error}",
                        cause=f"compression of {self._path}",
                    )
        return _IDLE

    def _compress(self, path: str) -> None:
        part = f"{path}.gz.part"
        with open(os.open(path, _READ), "rb", buffering=0) as source:
            try:
                # Writers that come by look at it for a moment.
                lock_file(source.fileno(), _PATIENCE)
            except TimeoutError:
                return
            if not os.path.exists(path):
                # Another process was faster.
                return
            try:
                with (
                    open(os.open(part, _WRITE, os.fstat(source.fileno()).st_mode & 0o777), "wb") as target,
                    gzip.GzipFile(self._name, "wb", _LEVEL, target) as packed,
                ):
                    while chunk := source.read(_CHUNK):
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
