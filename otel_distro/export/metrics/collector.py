"""Collects metrics: all of them on an interval, and a checkpoint of the counters in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_distro._otel import sdk
from otel_distro._otel.metrics import Flag
from otel_distro._runtime import gil, threads
from otel_distro._runtime.diagnostics import guard, say
from otel_distro._runtime.lock_holders import holds_lock
from otel_distro._runtime.token_bucket import TokenBucket
from otel_distro._runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    from otel_distro._otel.metrics import MetricSource
    from otel_distro._runtime.threads import LockType
    from otel_distro.export.encode.request import Encoded
    from otel_distro.export.metrics.checkpoint import CounterCheckpoint
    from otel_distro.export.sender_loop import SenderLoop
    from otel_distro.export.writer import Writer

CALLBACK_TIMEOUT_S = 2.0
"""Seconds that a callback may take before the collection continues without it."""

_FINAL_TIMEOUT_S = 0.2
"""The same while the process ends, and the longest wait for the collector's lock there."""

_FIRST_DELAY_S = 0.0005
_LOCK_RETRY_S = 0.005
_STORE_RETRY_S = 1.0

_CHECKPOINT_SHARE = 0.02
"""The share of a core that checkpoints may cost while measurements never pause."""

_CHECKPOINT_BURST_S = 0.04
"""Seconds of work on checkpoints that may be done without a pause: a short program loses little."""

_CHECKPOINT_MIN_COST_S = 0.0008
"""Least cost that is assumed for a checkpoint, so that there are at most 25 a second."""

_NEVER = float("inf")


class MetricCollector:
    """Collects for one metric reader, in a thread of its own.

    A full collection calls the callbacks of the application, so it may take any time. Between two
    of them the writer thread calls :meth:`look_after`, which replaces the collector's thread if a
    callback hangs, and writes a checkpoint of the synchronous instruments that a kill would lose.

    The lock is held while locks of the SDK are taken, and never while a callback runs. A fork takes
    it too, so no child inherits a locked SDK.

    Args:
        source: The reader's metrics.
        spool: Spools a full collection.
        encode: Encodes a part of the metrics for the checkpoint.
        checkpoint: Where the body of the latest checkpoint is kept.
        interval: Seconds between two full collections.
    """

    def __init__(
        self,
        source: MetricSource,
        spool: Callable[[MetricsData], None],
        encode: Callable[[MetricsData, Callable[[], object]], Encoded],
        checkpoint: CounterCheckpoint,
        interval: float,
    ) -> None:
        self._source = source
        self._spool = spool
        self._encode = encode
        self._checkpoint = checkpoint
        self._interval = interval
        self._cost = 0.0
        self._yielding = False
        self._recorded = Flag()
        self._watching = False
        self.worker = Worker("the thread that collects metrics", self.run)
        self._reset()

    def connect(self, writer: Writer, sender: SenderLoop) -> None:
        """Set which loops this one notifies: it and the writer need each other."""
        self._writer = writer
        self._sender = sender

    def _reset(self) -> None:
        self.lock = threads.allocate_lock()
        self._file_opened = False
        self._collecting = False
        self._waiters: list[LockType] = []
        self._next_collection = time.monotonic() + self._interval
        self._generation = 0
        self._running_callback: tuple[str, Any, float] | None = None
        self._hanging: dict[int, Any] = {}
        self._recorded.up = False
        self._checkpoint_due = _NEVER
        self._checkpoint_tokens = TokenBucket(_CHECKPOINT_SHARE, _CHECKPOINT_BURST_S)

    def reset_after_fork(self) -> None:
        """Start without waiters and checkpoint, and with every callback enabled."""
        self._reset()
        self._checkpoint.reset_after_fork()
        self.worker.reset_after_fork()

    def start(self) -> bool:
        """Start the thread unless it runs, and watch measurements.

        Returns:
            Whether the thread runs.
        """
        if not self._watching:
            self._watching = True
            with guard("watching measurements"):
                if self._checkpoint.possible:
                    self._source.watch(self._recorded, self._on_first_measurement)
        return self.worker.start()

    @holds_lock
    def _on_first_measurement(self) -> None:
        """Notify the writer of the first measurement since the last checkpoint.

        Called in the thread that measured. The very first call opens the file here: opening it in
        the writer takes two dozen system calls, each followed by a wait for the GIL.
        """
        if not self._file_opened and self.lock.acquire(False):
            self._file_opened = True
            try:
                with guard("opening the checkpoint file"), sdk.suppressed():
                    self._checkpoint.open()
            finally:
                self.lock.release()
        self._writer.notify()

    # Full collections

    def collect_for(self, done: LockType) -> None:
        """Request a collection; the writer and the sender release ``done`` once it is delivered."""
        self._waiters.append(done)
        self.worker.notify()

    def run(self) -> float:
        """Collect if the interval is over or a waiter requested it.

        Returns:
            Seconds until the next call.
        """
        waiters = list(self._waiters)
        if self._collecting or waiters or time.monotonic() >= self._next_collection:
            self._next_collection = time.monotonic() + self._interval
            self._collecting = True
            # From now on the writer watches for a callback that hangs.
            self._writer.notify()
            if not self.collect():
                return 0.0
            self._collecting = False
            self._sender.notify()
        for done in waiters:
            self._waiters.remove(done)
        self._writer.add_waiters(waiters)
        return self._next_collection - time.monotonic()

    def collect(self) -> bool:
        """Run all callbacks and spool everything.

        Returns:
            False if a callback hung and another thread has taken this collection over meanwhile.
        """
        with guard("collecting metrics"):
            return self._collect()
        return True

    def _collect(self) -> bool:
        generation = self._generation
        observed: list[Any] = []
        for instrument, callback in self._source.callbacks():
            if id(callback) in self._hanging:
                continue
            self._running_callback = (instrument.name, callback, time.monotonic())
            try:
                observed.extend(self._source.observe(instrument, callback))
            except (Exception, SystemExit) as error:
                name = type(error).__name__
                say(
                    f"a callback of the metric {instrument.name} failed: {name}: {error}; "
                    "its values are missing in this collection",
                    cause=f"asks {instrument.name}",
                    code="OD750",
                )
            if generation != self._generation:
                # It has returned after all: the next collection calls it again.
                self._hanging.pop(id(callback), None)
                return False
        self._running_callback = None
        with self.lock:
            if generation != self._generation:
                return False
            self._spool_all(observed)
        return True

    def collect_last(self, deadline: float) -> None:
        """Collect a last time, in the collector's thread because a callback may hang.

        After half of the time left until ``deadline`` (as ``time.monotonic()``) the metrics are
        spooled without the callbacks.
        """
        done = threads.allocate_lock()
        done.acquire()
        self._waiters.append(done)
        if not self.worker.alive:
            self.run()
            return
        self.worker.notify()
        end = time.monotonic() + max(0.0, deadline - time.monotonic()) / 2
        while not done.acquire(True, max(0.0, min(_FINAL_TIMEOUT_S, end - time.monotonic()))):
            if time.monotonic() >= end:
                self._collect_without_callbacks()
                return
            self._replace_hanging_thread(_FINAL_TIMEOUT_S)

    def _collect_without_callbacks(self) -> None:
        if self.lock.acquire(True, _FINAL_TIMEOUT_S):
            try:
                self._generation += 1
                self._spool_all([])
            finally:
                self.lock.release()

    @holds_lock
    def _spool_all(self, observed: list[Any]) -> None:
        self._source.record_observed(observed)
        found = self._source.collect()
        if found is not None:
            self._spool(found)
        self._checkpoint.drop()

    def _replace_hanging_thread(self, timeout: float) -> None:
        """If a callback runs longer than ``timeout`` seconds, collect in a new thread without it.

        The callback is skipped until it returns.
        """
        running = self._running_callback
        if running is None or time.monotonic() - running[2] < timeout:
            return
        name, callback, since = running
        self._running_callback = None
        self._hanging[id(callback)] = callback
        self._generation += 1
        waited = time.monotonic() - since
        say(
            f"a callback of the metric {name} does not return after {waited:.1f} s; "
            "it is skipped until it returns, other metrics are not affected",
            cause=f"hangs {name}",
            code="OD751",
        )
        self.worker.replace_thread()

    # Checkpoints, in the writer's thread

    def start_clock(self, now: float) -> None:
        """Set when the next checkpoint is due if something was recorded and no time is set yet.

        The writer calls this before its other work, so that this work does not delay the
        checkpoint.
        """
        if self._recorded.up and self._checkpoint_due == _NEVER:
            wait = self._checkpoint_tokens.wait(now)
            # The first checkpoints of a burst do not yield the GIL: the program may end at once.
            self._yielding = wait > _FIRST_DELAY_S
            self._checkpoint_due = now + max(_FIRST_DELAY_S, wait)

    def look_after(self) -> float:
        """Write a checkpoint if one is due, and replace the thread if a callback hangs.

        Returns:
            Seconds until the next call is needed.
        """
        now = time.monotonic()
        self.start_clock(now)
        if self._checkpoint_due <= now:
            self._write_checkpoint()
        self._replace_hanging_thread(CALLBACK_TIMEOUT_S)
        now = time.monotonic()
        self.start_clock(now)
        running = self._running_callback
        callback_timeout = running[2] + CALLBACK_TIMEOUT_S if running is not None else _NEVER
        return min(self._checkpoint_due, callback_timeout) - now

    def _write_checkpoint(self) -> None:
        """Encode what was recorded since the last collection, unless one is being spooled."""
        self._checkpoint_due = _NEVER
        if not self._checkpoint.wanted:
            # The flag stays up: no measurement has to notify the writer meanwhile.
            self._checkpoint_due = time.monotonic() + _STORE_RETRY_S
            return
        if not self.lock.acquire(False):
            self._checkpoint_due = time.monotonic() + _LOCK_RETRY_S
            return
        try:
            start = time.thread_time()
            self._recorded.up = False
            with guard("writing the checkpoint of the counters"):
                # Without pauses this would hold the GIL for half a millisecond.
                pauses = gil.GilYield(enabled=self._yielding)
                pauses.pause(due=True)
                found = self._source.recent(pauses.pause)
                pauses.pause()
                encoded = self._encode(found, pauses.pause) if found is not None else None
                pauses.pause()
                if encoded is not None:
                    self._checkpoint.write(encoded.body, encoded.count)
            # The first one is charged for its imports; the following ones do not wait for that.
            self._cost = min(time.thread_time() - start, 2 * self._cost + 0.001)
        finally:
            self.lock.release()
        self._checkpoint_tokens.spend(max(self._cost, _CHECKPOINT_MIN_COST_S))
