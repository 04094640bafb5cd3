"""From ended items to acknowledged bytes: one thread writes, one thread sends, and the spool lies between them.

The writer makes bytes of what has ended within :data:`WRITE_DELAY` and spools them, whatever the sender is waiting for. So a
kill, an outage, an exit without a collector and a fork are one case: the bytes are on disk, and whoever sends next has them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro._otel import sdk
from otel_distro._runtime import threads, worker
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.token_bucket import TokenBucket
from otel_distro._runtime.worker import Worker
from otel_distro.export.loss_report import LossReport
from otel_distro.export.metrics.gathering import Gathering
from otel_distro.export.send.delivery import drain_all, exit_timeout
from otel_distro.export.signal_queue import PRE_ENCODE_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from otel_distro.export.metrics.collection import Collection
    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.signal_queue import SignalQueue
    from otel_distro.export.spool.spool import Spool

WRITE_DELAY = 0.03
"""Seconds within which an ended item is on its way to the disk. Each time costs a wake-up and a write.

If the writer has not come to it, the thread that ends items does it.
"""

FIRST_DELAY = 0.0005
"""The same for the first items of a busy time: a program that is killed soon after has little left to lose.

The very first item of a signal is written by the thread that ended it.
"""

_WRITE_COST = 0.0001
_WRITES_SAVED = 100

ADOPT_INTERVAL = 5.0
"""Seconds between two looks for what processes that are gone have left."""

FIRST_ADOPTION = 1.0
"""Seconds until the first such look: a process that ends sooner has no time for the backlog of others."""

FLUSH_THRESHOLD_BYTES = 512 * 1024
_LOCK_PATIENCE = 0.1
_SHORT_PATIENCE = 0.001
_FORK_PATIENCE = 1.0
_LOOK_AT_THE_CLOCK = 8
_NEVER = float("inf")


class Pipeline:
    """The lanes and deliveries of all signals and the two threads that work on them.

    ``delay``: seconds a spooled body waits for company before it is sent. ``interval``: seconds between two collections of
    metrics, which ``collection`` does, where there are any.
    """

    def __init__(
        self,
        queues: Mapping[str, SignalQueue],
        deliveries: Mapping[str, SpoolExporter],
        spool: Spool,
        *,
        delay: float,
        interval: float,
        collection: Collection | None = None,
    ) -> None:
        self.queues = queues
        self.deliveries = deliveries
        self.spool = spool
        self._delay = delay
        self._closed = False
        self._ended = False
        self._deadline = _NEVER
        self._used = True
        self._forked = False
        self._has_children = False
        self._measured: Callable[[], bool] = lambda: True
        self._losses = LossReport(spool, deliveries)
        self._writer = Worker("the thread that writes telemetry", self._write)
        self._sender = Worker("the thread that sends telemetry", self._send)
        self._gathering = Gathering(collection, interval, self._writer.notify, self._sender.notify, self._gathered)
        self._renew()

    def _renew(self) -> None:
        now = time.monotonic()
        # Used up where all that happens is that something is written every WRITE_DELAY.
        self._early_writes = TokenBucket(_WRITE_COST / WRITE_DELAY, _WRITES_SAVED * _WRITE_COST)
        self._write_delay = FIRST_DELAY
        self._finished = threads.allocate_lock()
        self._finished.acquire()
        self._finishing = False
        self._held: dict[int, list[threads.LockType]] = {}
        self._written_waiters: list[Any] = []
        self._sent_waiters: list[Any] = []
        self._write_due = _NEVER
        self._send_due = _NEVER
        self._next_adoption = now + (FIRST_ADOPTION if not self._forked else ADOPT_INTERVAL)

    # What the application's threads call

    def put(self, signal: str, item: Any) -> None:
        """Queue an ended item. When its queue is half full the caller spools a batch itself: back-pressure, not loss."""
        if self._closed:
            return
        self._used = True
        if worker.threads_forbidden is not None:
            worker.threads_forbidden()
        queue = self.queues[signal]
        waiting = queue.put(item)
        if waiting == 1:
            queue.since = time.monotonic()
            threads_forbidden = worker.threads_forbidden is not None
            if queue.new or threads_forbidden:
                # To open a file takes two dozen calls, and after each another thread would wait for the interpreter.
                queue.new = False
                self._help(queue, _LOCK_PATIENCE if threads_forbidden else 0.0)
            self._writer.notify()
            if threads_forbidden:
                # There is no thread that could send it: left to other processes.
                self.spool.release_segments()
        elif waiting == queue.batch:
            self._writer.notify()
        elif not waiting % _LOOK_AT_THE_CLOCK and time.monotonic() - queue.since > self._write_delay:
            # The writer does not get to it: a thread that computes for long leaves it no time.
            self._help(queue, _SHORT_PATIENCE)
        elif queue.prepares and not waiting % PRE_ENCODE_EVERY:
            with guard("making bytes of telemetry"):
                queue.prepare()
        if waiting > queue.capacity // 2:
            full = waiting > queue.capacity
            self._help(queue, _LOCK_PATIENCE if full else 0.0)
            if full and len(queue.items) > queue.capacity:
                queue.drop_beyond_capacity()

    def _help(self, queue: SignalQueue, patience: float = 0.0) -> None:
        if queue.lock.acquire(True, patience):
            try:
                with guard("spooling telemetry"), sdk.suppressed():
                    queue.spool_batch()
                    self._early_writes.spend(_WRITE_COST)
            finally:
                queue.lock.release()
            self._written()

    def _written(self) -> None:
        """Let the sender know that something was spooled, unless it is going to look in a moment and no sooner for this."""
        if self._send_due == _NEVER or self._sent_waiters or self.spool.pending_bytes > FLUSH_THRESHOLD_BYTES:
            self._sender.notify()

    def leave_metrics(self) -> None:
        """Collect the metrics, without threads, and leave them to other processes to send."""
        self._gathering.collect()
        self.spool.release_segments()

    def flush(self, timeout: float, *, collect: bool = True) -> bool:
        """Spool and send everything, metrics too if they are to be collected now.

        Return whether all was taken within ``timeout`` seconds.
        """
        if self._closed:
            return False
        done = threads.allocate_lock()
        done.acquire()
        if collect:
            self._gathering.wait_for(done)
        else:
            self._written_waiters.append(done)
            self._writer.notify()
        if not self.start():
            self._gathering.run()
            self._write()
            self._send()
        in_time = done.acquire(True, max(0.0, min(timeout, threads.TIMEOUT_MAX)))
        return bool(in_time) and not self.spool.pending()

    def finish(self, budget: float, longest: float = 0.0) -> None:
        """Spool everything, deliver what can be delivered within ``budget`` seconds, and stop for good. Never raises.

        A collector that is known to need more time for an answer gets it, up to ``longest`` seconds. What is left stays
        in the spool for the next process.
        """
        if self._ended:
            return
        if not self._closed:
            budget = exit_timeout(self.deliveries.values(), budget, longest)
            self._deadline = time.monotonic() + budget
            # From here on the writer may come by itself.
            self._closed = True
        # Else another thread is at it, or what a signal's handler raised has cut off whoever was.
        with threads.short_switch_interval():
            self._finish_within(max(0.0, min(budget, self._deadline - time.monotonic())))

    def _finish_within(self, budget: float) -> None:
        self._sender.leave()
        if self._writer.alive:
            self._writer.stop()
            if self._finished.acquire(True, budget):
                self._finished.release()
        else:
            # No threads can be had any more at the end of an interpreter: the caller does it.
            with sdk.suppressed():
                self._finish()
        if self._ended:
            return
        self._ended = True
        # A closed spool holds nothing any more: what is left is read before.
        left = self.spool.pending()
        self.spool.close()
        self._losses.report_unsent(left)

    @property
    def idle(self) -> bool:
        """Whether this is a forked child that did nothing worth a report: its process metrics would be all of it."""
        return not self._used and not self._measured()

    # Life cycle

    def start(self) -> bool:
        """Start the threads unless they run; return whether they run."""
        return all([self._gathering.start(), self._writer.start(), self._sender.start()])

    def before_fork(self) -> None:
        """Send the threads home and hold the locks under which SDK locks are taken, so that the child finds them open."""
        self._has_children = True
        worker.stop_all((self._gathering.worker, self._writer, self._sender))
        for delivery in self.deliveries.values():
            delivery.sender.before_fork()
        # One of them may be held by the very thread that forks, in a callback of the application.
        locks = (self._gathering.lock, *(queue.lock for queue in self.queues.values()))
        until = time.monotonic() + _FORK_PATIENCE
        held = [lock for lock in locks if lock.acquire(True, max(0.0, until - time.monotonic()))]
        self._held[threads.get_ident()] = held
        self.spool.before_fork()

    def after_fork_in_parent(self) -> None:
        """Take up the work again."""
        self.spool.after_fork_in_parent()
        for lock in self._held.pop(threads.get_ident(), ()):
            lock.release()
        self._gathering.worker.restart()
        self._writer.restart()
        self._sender.restart()

    def after_fork_in_child(self, measured: Callable[[], bool]) -> None:
        """Start empty: what waited is the parent's to deliver. ``measured``: whether metrics were recorded since."""
        self._measured = measured
        self._used = False
        self._ended = self._closed
        self._forked = True
        self._has_children = False
        self.spool.reset_after_fork()
        self._losses.reset_after_fork()
        for queue in self.queues.values():
            queue.forget()
        for delivery in self.deliveries.values():
            delivery.reset_after_fork()
            delivery.health.reset_after_fork()
        self._renew()
        self._gathering.renew()
        self._writer.renew()
        self._sender.renew()
        self.start()

    # What the writer does

    def _write(self) -> float:
        if self._closed:
            self._finish()
            return 0.0
        now = time.monotonic()
        self._gathering.note(now)
        if self._write_due == _NEVER:
            self._write_due = self._next_write(now)
        waiters, self._written_waiters = self._written_waiters, []
        if waiters or now >= self._write_due or any(len(queue.items) >= queue.batch for queue in self.queues.values()):
            self._write_due = _NEVER
            # What a busy time begins with is for a program that may be gone in a moment.
            gently = not waiters and self._write_delay > FIRST_DELAY
            self._spool_all(gently=gently)
            now = time.monotonic()
            if self._next_write(now) <= now:
                # While it wrote of one signal, more of another came than the application could help with.
                self._spool_all(gently=gently)
            self._sent_waiters.extend(waiters)
            self._written()
        left = self._gathering.look_after()
        return min(self._write_due - time.monotonic(), left)

    def _gathered(self, waiters: list[Any]) -> None:
        """Write, and then send, for those who waited for a collection; at the end they only wait for that."""
        if self._closed:
            for done in waiters:
                done.release()
        elif waiters:
            self._written_waiters.extend(waiters)
            self._writer.notify()

    def _next_write(self, now: float) -> float:
        """Return when to spool what waits: a program that computes may have kept this thread from its turn for some time."""
        since = min((queue.since for queue in self.queues.values() if queue.items), default=_NEVER)
        self._write_delay = min(WRITE_DELAY, max(FIRST_DELAY, self._early_writes.wait(now)))
        return since + self._write_delay

    def _spool_all(self, *, gently: bool = False) -> None:
        pauses = threads.GilYield(wanted=gently)
        for queue in self.queues.values():
            # Somebody may be at the last ones.
            if queue.items or queue.lock.locked():
                with queue.lock, guard(f"spooling {queue.signal}"):
                    # What comes meanwhile has its own turn: the other signals wait.
                    for _ in range(len(queue.items) // queue.batch + 1):
                        queue.spool_batch(pauses)
                pauses.take()
        self._early_writes.spend(_WRITE_COST)

    def _finish(self) -> None:
        """Spool the rest, take up what children have left, and send it all; once."""
        if self._finishing:
            return
        self._finishing = True
        waiters, self._written_waiters = self._written_waiters, []
        self._spool_all()
        if not self.idle:
            self._gathering.run_last(self._deadline)
        if self._has_children:
            # Their last words may lie there, and nobody else may come by.
            self.spool.adopt()
        pending = self.spool.pending()
        drain_all((d for signal, d in self.deliveries.items() if signal in pending), self._deadline)
        self._losses.report()
        for done in (*waiters, self._finished):
            done.release()

    # What the sender does

    def _send(self) -> float:
        now = time.monotonic()
        waiters, self._sent_waiters = self._sent_waiters, []
        if now >= self._next_adoption and not self._sender.stopping:
            self._next_adoption = now + ADOPT_INTERVAL
            self.spool.adopt()
        pending = self.spool.pending()
        if pending and self._send_due == _NEVER:
            self._send_due = now + self._delay
        if waiters:
            for delivery in self.deliveries.values():
                delivery.health.reset_backoff()
        if waiters or now >= self._send_due or sum(size for _, size, _ in pending.values()) > FLUSH_THRESHOLD_BYTES:
            self._send_due = _NEVER
            self._deliver()
            pending = self.spool.pending()
        self._losses.report()
        if pending and self._sent_waiters:
            # Cut short by another flush: what these wait for may not be sent yet.
            self._sent_waiters[:0] = waiters
            return 0.0
        for done in waiters:
            done.release()
        return self._nap(pending)

    def _nap(self, pending: Mapping[str, object]) -> float:
        now = time.monotonic()
        if self._send_due == _NEVER:
            # What is left waits for its link, or came while the rest was sent.
            left = (delivery for signal, delivery in self.deliveries.items() if signal in pending)
            self._send_due = min((max(d.health.retry_at, now + self._delay) for d in left), default=_NEVER)
        return min(self._send_due, self._next_adoption) - now

    def _deliver(self) -> None:
        """Send in turns, one request of each signal, until nothing waits or nothing goes, or somebody waits for a flush.

        Each turn asks all of them: to a slow collector one signal could go on for ever.
        """
        sent = True
        while sent and not self._sender.stopping:
            sent = False
            for delivery in self.deliveries.values():
                timeout = min(delivery.sender.endpoint.timeout, self._deadline - time.monotonic())
                if timeout > 0 and not self._sender.stopping and delivery.send_one(timeout):
                    sent = True
            if self._sent_waiters:
                return
