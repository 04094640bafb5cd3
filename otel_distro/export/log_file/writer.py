"""The local file of log records: JSON lines that several processes append to, with rotation by size and time.

Whoever writes holds the ``flock`` of the file, so a line is never mixed with another, a write that the disk cut short is taken
back, and nobody writes into a file that is being put away: after the lock, the file must still be the one of that name.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation

from otel_distro import schema, settings
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.files import append_whole, lock_file, open_shared
from otel_distro.export.log_file.json_lines import encode_lines
from otel_distro.export.log_file.rotation import Archives
from otel_distro.export.self_metrics import ExporterMetrics
from otel_distro.export.signal_queue import SignalQueue

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from otel_distro.export.pipeline import Pipeline

SIGNAL: Final = "log_file"
"""The lane of the pipeline whose bodies are lines of the file."""

_PATIENCE: Final = 0.5
_RETRY: Final = 5.0
_MOST_WAITING: Final = 4 * 1024 * 1024
_STAMP: Final = len('{"timestamp":"')


class LogFile:
    """Takes the place of the spool for the lane :data:`SIGNAL`.

    ``size``: bytes after which the file is put away. ``age``: seconds after its first line. ``keep``: archives that stay.
    """

    def __init__(self, path: str, *, size: int, age: float, keep: int) -> None:
        self.path = os.path.abspath(path)
        self.lost = 0
        """Records that will not be in the file."""
        self._size = size
        self._age = age
        self._archives = Archives(self.path, keep)
        self._descriptor = -1
        self._failing = False
        self._inode = (0, 0)
        self._expires = 0.0
        self.renew()

    def append(self, signal: str, body: bytes, count: int) -> None:
        """Write lines. Never raises: what cannot be written waits, up to four megabytes, and goes with what comes next.

        What is beyond is counted in :attr:`lost`. That it begins and ends is said.
        """
        if self._pid != os.getpid():
            self.renew()
        self._waiting.append((body, count))
        self._waiting_bytes += len(body)
        if time.monotonic() >= self._retry_at:
            try:
                self._write_waiting()
            except OSError as error:
                self._fail(error)
        while self._waiting_bytes > _MOST_WAITING:
            body, count = self._waiting.popleft()
            self._waiting_bytes -= len(body)
            self.lost += count

    def _fail(self, error: OSError) -> None:
        self._close()
        if isinstance(error, TimeoutError):
            # Somebody was stopped with the lock in hand: telemetry must not wait for that again and again.
            self._retry_at = time.monotonic() + _RETRY
        if not self._failing:
            self._failing = True
            say(
                f"log records cannot be written to {self.path}: {error.strerror or error}; some wait, all else goes on",
                cause=f"log file {self.path}",
            )

    def renew(self) -> None:
        """Start again in a forked child: the descriptor, the lock with it, and what waits are the parent's."""
        self._pid = os.getpid()
        self._close()
        self.lost = 0
        self._failing = False
        self._retry_at = 0.0
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Let go of the file and stop putting archives in order; both start again when something is written."""
        self._close()
        self._archives.stop()

    def report_to(self, meter: Meter) -> None:
        """Report what was lost at every collection."""
        metric = schema.LOG_FILE_LOST
        meter.create_observable_counter(metric.name, [lambda _: (Observation(self.lost),)], metric.unit, metric.brief)

    def _write_waiting(self) -> None:
        while self._waiting:
            body, count = self._waiting[0]
            size = self._lock()
            try:
                cut = self._room(body, size)
                if not cut and not self._archives.put_away():
                    cut = len(body)
                if cut:
                    self._write(body[:cut], size)
                    self._waiting.popleft()
                    self._waiting_bytes -= cut
                    if cut < len(body):
                        self._waiting.appendleft((body[cut:], count))
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        if self._failing:
            self._failing = False
            say(f"log records are written to {self.path} again; {self.lost} are missing", cause="log file is back")

    def _room(self, body: bytes, size: int) -> int:
        """Return how many bytes of whole lines the file takes; none where it is to be put away first."""
        if size and self._age and time.time() >= self._expires:
            return 0
        if not self._size or size + len(body) <= self._size:
            return len(body)
        cut = body.rfind(b"\n", 0, max(0, self._size - size)) + 1
        return cut or (0 if size else body.index(b"\n") + 1)

    def _write(self, lines: bytes, size: int) -> None:
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # Somebody was killed in the middle of a line.
            lines = b"\n" + lines
        append_whole(self._descriptor, lines, size)

    def _lock(self) -> int:
        """Return the size of the file, which is locked, and the one of its name. Raises ``OSError``."""
        deadline = time.monotonic() + _PATIENCE
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
        self._expires = self._begun(descriptor) + self._age
        self._archives.sweep()

    @staticmethod
    def _begun(descriptor: int) -> float:
        """Return the time of the file's first line; now where it has none."""
        head = os.pread(descriptor, _STAMP + 19, 0)[_STAMP:]
        try:
            return datetime.fromisoformat(head.decode()).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            return time.time()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _LaneMetrics(ExporterMetrics):
    """Counts what the lane drops before it comes to the file: the rest is not to be reported."""

    def __init__(self, file: LogFile) -> None:
        super().__init__("logs", None, "", 0)
        self._file = file

    def dropped(self, count: int, error_type: str) -> None:
        """Count records that will not be in the file."""
        self._file.lost += count


def add_log_file(pipeline: Pipeline) -> LogFile:
    """Give the pipeline a lane that ends in the file that ``OTEL_DISTRO_LOG_FILE`` names, and return the file."""
    from otel_distro.redaction import Redactor

    file = LogFile(
        settings.OTEL_DISTRO_LOG_FILE.get(),
        size=settings.OTEL_DISTRO_LOG_FILE_BYTES.get(),
        age=settings.OTEL_DISTRO_LOG_FILE_AGE.get(),
        keep=settings.OTEL_DISTRO_LOG_FILE_KEEP.get(),
    )
    # Not the redactor of what is sent: what it hid is counted once.
    redactor = Redactor.from_environment()
    sink: Any = file
    queue = SignalQueue(SIGNAL, lambda items: encode_lines(items, redactor), sink, _LaneMetrics(file))
    pipeline.queues = {**pipeline.queues, SIGNAL: queue}
    return file
