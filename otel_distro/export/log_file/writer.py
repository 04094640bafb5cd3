"""The local file of log records: JSON lines that several processes append to, with rotation.

A process writes while it holds the ``flock`` of the file. So lines are never mixed, a write that a
full disk cut short is undone, and no line goes to a file that is being rotated: once it has the
lock, the writer checks that the path still names the locked file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import Observation

from otel_distro import schema, settings
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.files import append_whole, lock_file, open_shared
from otel_distro.export.log_file.json_lines import encode_lines
from otel_distro.export.log_file.rotation import Archives
from otel_distro.export.signal_queue import SignalQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

SIGNAL: Final = "log_file"
"""Name of the queue whose batches are lines of the file."""

_LOCK_TIMEOUT_S: Final = 0.5
_LOCK_RETRY_S: Final = 5.0
_MAX_BUFFERED_BYTES: Final = 4 * 1024 * 1024
_TIMESTAMP_OFFSET: Final = len('{"timestamp":"')
_TIMESTAMP_LENGTH: Final = len("2026-01-01T10:00:00")


class LogFile:
    """The sink of the queue :data:`SIGNAL`.

    Args:
        path: Path of the file.
        max_bytes: Size above which the file is rotated; 0 for no limit.
        max_age: Seconds after its first line at which it is rotated; 0 for no limit.
        backup_count: Number of rotated files that are kept.
    """

    def __init__(self, path: str, *, max_bytes: int, max_age: float, backup_count: int) -> None:
        self.path = os.path.abspath(path)
        self.dropped = 0
        """Records that will not be in the file."""
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._archives = Archives(self.path, backup_count)
        self._descriptor = -1
        self._failing = False
        self._inode = (0, 0)
        self._expires = 0.0
        self.reset_after_fork()

    def append(self, signal: str, body: bytes, count: int) -> None:
        """Write lines. Never raises.

        Lines that cannot be written are buffered, up to 4 MiB, and written with later ones. The
        oldest are dropped beyond that and counted in :attr:`dropped`. The first failure and the
        recovery are reported.
        """
        if self._pid != os.getpid():
            self.reset_after_fork()
        self._buffered.append((body, count))
        self._buffered_bytes += len(body)
        if time.monotonic() >= self._retry_at:
            try:
                self._write_buffered()
            except OSError as error:
                self._fail(error)
        while self._buffered_bytes > _MAX_BUFFERED_BYTES:
            body, count = self._buffered.popleft()
            self._buffered_bytes -= len(body)
            self.dropped += count

    def _fail(self, error: OSError) -> None:
        self._close()
        if isinstance(error, TimeoutError):
            # A process that was stopped holds the lock: do not wait for it at each write.
            self._retry_at = time.monotonic() + _LOCK_RETRY_S
        if not self._failing:
            self._failing = True
            say(
                f"log records cannot be written to {self.path}: {error.strerror or error}; "
                "the newest 4 MiB are buffered, other exports are not affected",
                cause=f"log file {self.path}",
                code="OD400",
            )

    def reset_after_fork(self) -> None:
        """Start without the parent's descriptor, to which its lock belongs, and its buffer."""
        self._pid = os.getpid()
        self._close()
        self.dropped = 0
        self._failing = False
        self._retry_at = 0.0
        self._buffered: deque[tuple[bytes, int]] = deque()
        self._buffered_bytes = 0

    def close(self) -> None:
        """Close the file and stop the compression; a later write starts both again."""
        self._close()
        self._archives.stop()

    def report_to(self, meter: Meter) -> None:
        """Report the number of dropped records at every collection."""
        metric = schema.LOG_FILE_DROPPED
        meter.create_observable_counter(
            metric.name, [lambda _: (Observation(self.dropped),)], metric.unit, metric.brief
        )

    def _write_buffered(self) -> None:
        while self._buffered:
            body, count = self._buffered[0]
            size = self._lock()
            try:
                cut = self._writable_bytes(body, size)
                if not cut and not self._archives.rotate():
                    cut = len(body)
                if cut:
                    self._write(body[:cut], size)
                    self._buffered.popleft()
                    self._buffered_bytes -= cut
                    if cut < len(body):
                        self._buffered.appendleft((body[cut:], count))
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        if self._failing:
            self._failing = False
            say(
                f"log records are written to {self.path} again; {self.dropped} were dropped",
                cause="log file is back",
                code="OD401",
            )

    def _writable_bytes(self, body: bytes, size: int) -> int:
        """Return how many bytes of whole lines fit into the file; 0 if it must be rotated first."""
        if size and self._max_age and time.time() >= self._expires:
            return 0
        if not self._max_bytes or size + len(body) <= self._max_bytes:
            return len(body)
        cut = body.rfind(b"\n", 0, max(0, self._max_bytes - size)) + 1
        return cut or (0 if size else body.index(b"\n") + 1)

    def _write(self, lines: bytes, size: int) -> None:
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A process was killed in the middle of a line: end that line first.
            lines = b"\n" + lines
        append_whole(self._descriptor, lines, size)

    def _lock(self) -> int:
        """Lock the file that the path names, and return its size.

        Raises:
            OSError: If it cannot be opened, or another process keeps the lock.
        """
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            if self._descriptor < 0:
                self._open()
            lock_file(self._descriptor, deadline - time.monotonic())
            try:
                named = os.stat(self.path, follow_symlinks=False)
                if (named.st_dev, named.st_ino) == self._inode:
                    return named.st_size
            except FileNotFoundError:
                pass
            self._close()

    def _open(self) -> None:
        descriptor = open_shared(self.path, os.O_APPEND)
        found = os.fstat(descriptor)
        self._descriptor = descriptor
        self._inode = (found.st_dev, found.st_ino)
        self._expires = self._first_line_time(descriptor) + self._max_age
        self._archives.resume()

    @staticmethod
    def _first_line_time(descriptor: int) -> float:
        """Return the time of the file's first line in seconds since 1970; now if it has none."""
        head = os.pread(descriptor, _TIMESTAMP_OFFSET + _TIMESTAMP_LENGTH, 0)[_TIMESTAMP_OFFSET:]
        try:
            return datetime.fromisoformat(head.decode()).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            return time.time()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _DropCounter:
    """Adds what the queue drops to the file's count; the queue's other metrics are not reported."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def watch_queue(self, size: Callable[[], int]) -> None:
        """Do nothing."""

    def processed(self, count: int) -> None:
        """Do nothing."""

    def dropped(self, count: int, error_type: str) -> None:
        """Count records that will not be in the file."""
        self._file.dropped += count


def add_log_file(queues: dict[str, SignalQueue]) -> LogFile:
    """Add the queue that ends in the file of ``OTEL_DISTRO_LOG_FILE``.

    Args:
        queues: The queues of a pipeline that is not started.

    Returns:
        The file.
    """
    from otel_distro.redaction import Redactor

    file = LogFile(
        settings.OTEL_DISTRO_LOG_FILE.get(),
        max_bytes=settings.OTEL_DISTRO_LOG_FILE_MAX_BYTES.get(),
        max_age=settings.OTEL_DISTRO_LOG_FILE_MAX_AGE.get(),
        backup_count=settings.OTEL_DISTRO_LOG_FILE_BACKUP_COUNT.get(),
    )
    # A redactor of its own, so that the redactions of an exported record are counted once.
    redactor = Redactor.from_environment()
    queues[SIGNAL] = SignalQueue(SIGNAL, lambda items: encode_lines(items, redactor), file, _DropCounter(file))
    return file
