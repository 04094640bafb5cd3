"""Deduplication of log records; off unless ``OTEL_DISTRO_LOG_DEDUP_LIMIT`` is set.

Records are equal if they have the same logger, level and message template, and the same
fingerprint if they carry an exception: the first error of its kind is always sent. Events are never
deduplicated. Of equal records the first few in a window are sent, and of those that follow the last
one, with the number suppressed before it: ``otel_distro.log.duplicates``.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Observation

from otel_distro import schema, settings
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import fork
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from opentelemetry.metrics import CallbackOptions

    from otel_distro.export.log_entry import CodeLocation

    Arguments = tuple[Any, int, int, str, str, CodeLocation, dict[str, Any]]
    Send = Callable[[Arguments, Context | None], None]

_MAX_KEYS = 2000
_NAME = "log deduplication"


class _Window:
    """Equal records within one window.

    ``last``: the newest record that was not sent; it is sent when the window ends.
    """

    __slots__ = ("end", "last", "sent", "suppressed")

    def __init__(self, end: float) -> None:
        self.end = end
        self.sent = 0
        self.suppressed = 0
        self.last: tuple[Arguments, Context] | None = None


class Deduplicator:
    """Sends ``limit`` equal records in each window. Thread-safe.

    Args:
        limit: Equal records that are sent in one window.
        window: Length of a window in seconds.
        send: Emits a record.
        now: Clock in seconds.
    """

    def __init__(self, limit: int, window: float, send: Send, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window = window
        self._send = send
        self._now = now
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Start empty: the parent sends the records that a forked child inherits."""
        # The handler of a signal may log, or end the process, where this thread holds the lock.
        self._lock = threading.RLock()
        self._windows: dict[Hashable, _Window] = {}
        self._next_end = float("inf")
        self.suppressed = 0
        """Number of records that were not sent because a later, equal one was."""

    def submit(self, key: Hashable, arguments: Arguments, context: Context | None = None) -> None:
        """Send the record, or keep it as the last of its window.

        Args:
            key: The same for equal records.
            arguments: The record.
            context: Where it is emitted; None for the current context.
        """
        now = self._now()
        if now >= self._next_end:
            self.release()
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                if len(self._windows) >= _MAX_KEYS:
                    # Beyond the limit of keys every record is sent.
                    window = _Window(now)
                else:
                    window = self._windows[key] = _Window(now + self._window)
                    self._next_end = min(self._next_end, window.end)
            if window.sent < self._limit:
                window.sent += 1
            else:
                if window.last is not None:
                    window.suppressed += 1
                    self.suppressed += 1
                window.last = (arguments, get_current() if context is None else context)
                return
        self._send(arguments, context)

    def release(self, *, everything: bool = False) -> None:
        """Send the last records of windows that have ended, or of all windows."""
        now = self._now()
        with self._lock:
            ended = [key for key, window in list(self._windows.items()) if everything or now >= window.end]
            found = [self._windows.pop(key, None) for key in ended]
            self._next_end = min((window.end for window in list(self._windows.values())), default=float("inf"))
        for window in found:
            if window is not None and window.last is not None:
                arguments, context = window.last
                if window.suppressed:
                    arguments[-1][schema.LOG_DUPLICATES.name] = window.suppressed
                self._send(arguments, context)


active: Deduplicator | None = None
"""The deduplicator of this process, None while deduplication is off."""


def start(send: Send) -> None:
    """Start deduplication, if the settings enable it. ``send``: emits a record in a context."""
    global active
    limit = settings.OTEL_DISTRO_LOG_DEDUP_LIMIT.get()
    if not limit:
        return
    active = Deduplicator(limit, settings.OTEL_DISTRO_LOG_DEDUP_WINDOW.get(), send)
    process_exit.register(_NAME, process_exit.Order.LOG_DEDUPLICATION, before_end=_release_all)
    metric = schema.LOG_DEDUPLICATED
    metrics.get_meter("otel_distro.log_records", __version__).create_observable_counter(
        metric.name, [_observe], metric.unit, metric.brief
    )
    fork.register(_NAME, fork.Order.LOG_DEDUPLICATION, after_in_child=active.reset_after_fork)


def stop() -> None:
    """Send the records that are kept and stop deduplication."""
    global active
    if active is not None:
        _release_all()
        process_exit.unregister(_NAME)
        fork.unregister(_NAME)
    active = None


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    """Return the count of the metric, and release ended windows.

    Collections come every few seconds, also when no further record does.
    """
    deduplicator = active
    if deduplicator is None:
        return
    with guard("releasing deduplicated log records"):
        deduplicator.release()
    yield Observation(deduplicator.suppressed)


def _release_all() -> None:
    if active is not None:
        active.release(everything=True)
