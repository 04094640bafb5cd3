"""The thread that encodes what is queued and appends it to the spool."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro._otel import sdk
from otel_distro._runtime import gil
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.lock_holders import holds_lock
from otel_distro._runtime.token_bucket import TokenBucket
from otel_distro._runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_distro._runtime.threads import LockType
    from otel_distro.export.metrics.collector import MetricCollector
    from otel_distro.export.sender_loop import SenderLoop
    from otel_distro.export.signal_queue import SignalQueue

WRITE_DELAY_S = 0.03
"""Seconds within which a queued item is spooled. Each time costs a wake-up and a write.

If the writer gets no turn within that time, the thread that queues items spools them.
"""

FIRST_DELAY_S = 0.0005
"""The same for the first items of a burst: a program that is killed soon after loses little."""

_WRITE_COST_S = 0.0001
_EARLY_WRITES = 100
_NEVER = float("inf")


class Writer:
    """Spools the queues of all signals, and looks after the collector of metrics.

    :meth:`run` is called by one thread at a time, the other methods by any.

    Args:
        queues: The queue of each signal; complete before the thread is started.
        collector: The collector of metrics, where metrics are exported.
        sender: Notified of what was spooled.
        finish: Called in place of the usual work once :attr:`closed` is set.
    """

    def __init__(
        self,
        queues: Mapping[str, SignalQueue],
        collector: MetricCollector | None,
        sender: SenderLoop,
        finish: Callable[[], None],
    ) -> None:
        self._queues = queues
        self._collector = collector
        self._sender = sender
        self._finish = finish
        self.closed = False
        """Whether the last delivery has begun: nothing more is queued."""
        self.worker = Worker("the thread that writes telemetry", self.run)
        self._reset()

    def _reset(self) -> None:
        # Sized so that steady writes every WRITE_DELAY_S use up the tokens.
        self._early_writes = TokenBucket(_WRITE_COST_S / WRITE_DELAY_S, _EARLY_WRITES * _WRITE_COST_S)
        self.delay = FIRST_DELAY_S
        """Seconds that an item may wait at present."""
        self._write_due = _NEVER
        self._waiters: list[LockType] = []

    def reset_after_fork(self) -> None:
        """Start without waiters, with all early writes."""
        self._reset()
        self.worker.reset_after_fork()

    def notify(self) -> None:
        """Have :meth:`run` called now."""
        self.worker.notify()

    def add_waiters(self, waiters: list[LockType]) -> None:
        """Release these locks once what is queued now is sent; at once when :attr:`closed`."""
        if self.closed:
            for done in waiters:
                done.release()
        elif waiters:
            self._waiters.extend(waiters)
            self.worker.notify()

    def take_waiters(self) -> list[LockType]:
        """Return the locks added since the last call."""
        waiters, self._waiters = self._waiters, []
        return waiters

    @holds_lock
    def spool_batch(self, queue: SignalQueue, timeout: float = 0.0) -> None:
        """Spool one batch of a queue in the calling thread.

        If another thread has the queue's lock for ``timeout`` seconds, leave it to that one.
        """
        if queue.lock.acquire(True, timeout):
            try:
                with guard("spooling telemetry"), sdk.suppressed():
                    queue.spool_batch()
                    self._early_writes.spend(_WRITE_COST_S)
            finally:
                queue.lock.release()
            self._sender.notify_spooled()

    def run(self) -> float:
        """Spool what is due.

        Returns:
            Seconds until the next call.
        """
        if self.closed:
            self._finish()
            return 0.0
        now = time.monotonic()
        if self._collector is not None:
            self._collector.start_clock(now)
        if self._write_due == _NEVER:
            self._write_due = self._next_write(now)
        waiters = self.take_waiters()
        if waiters or now >= self._write_due or any(len(queue.items) >= queue.batch for queue in self._queues.values()):
            self._write_due = _NEVER
            # The first items of a burst are written without pauses: the program may end at once.
            yielding = not waiters and self.delay > FIRST_DELAY_S
            self.spool_all(yielding=yielding)
            now = time.monotonic()
            if self._next_write(now) <= now:
                # While one signal was written, another got more than its producers could spool.
                self.spool_all(yielding=yielding)
            self._sender.add_waiters(waiters)
            self._sender.notify_spooled()
        left = self._collector.look_after() if self._collector is not None else _NEVER
        return min(self._write_due - time.monotonic(), left)

    def _next_write(self, now: float) -> float:
        """Set :attr:`delay`, and return when the oldest queued item is due.

        Its age counts, because a busy program may have kept the GIL from this thread for some time.
        """
        oldest_at = min((queue.oldest_at for queue in self._queues.values() if queue.items), default=_NEVER)
        self.delay = min(WRITE_DELAY_S, max(FIRST_DELAY_S, self._early_writes.wait(now)))
        return oldest_at + self.delay

    def spool_all(self, *, yielding: bool = False) -> None:
        """Spool what is queued of all signals, with pauses for other threads if ``yielding``."""
        pauses = gil.GilYield(enabled=yielding)
        for queue in self._queues.values():
            # Another thread may be spooling the last items.
            if queue.items or queue.lock.locked():
                with queue.lock, guard(f"spooling {queue.signal}"):
                    # Bounded: items queued meanwhile wait for the next turn, after other signals.
                    for _ in range(len(queue.items) // queue.batch + 1):
                        queue.spool_batch(pauses)
                pauses.pause()
        self._early_writes.spend(_WRITE_COST_S)
