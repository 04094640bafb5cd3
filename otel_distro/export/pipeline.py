"""From ended items to acknowledged bytes: threads queue, one thread writes, one thread sends.

The spool lies between the writer (:mod:`otel_distro.export.writer`) and the sender
(:mod:`otel_distro.export.sender_loop`). Items are encoded and spooled within
:data:`~otel_distro.export.writer.WRITE_DELAY_S`, whatever the sender is waiting for. So a kill, an
outage, an exit without a collector and a fork are one case: the bytes are on the disk, and the next
process that sends to the same collector delivers them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro._otel import sdk
from otel_distro._runtime import gil, lock_holders, threads, worker
from otel_distro._runtime.diagnostics import guard
from otel_distro.export.loss_report import LossReport
from otel_distro.export.send.delivery import drain_all, exit_timeout
from otel_distro.export.sender_loop import SenderLoop
from otel_distro.export.signal_queue import PRE_ENCODE_EVERY
from otel_distro.export.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from otel_distro.export.metrics.collector import MetricCollector
    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.signal_queue import SignalQueue
    from otel_distro.export.spool.spool import Spool

_LOCK_TIMEOUT_S = 0.1
_SHORT_LOCK_TIMEOUT_S = 0.001
_FORK_LOCK_TIMEOUT_S = 1.0
_CHECK_EVERY = 8


class Pipeline:
    """The queues and exporters of all signals, and the threads that work on them.

    Args:
        queues: The queue of each signal. More may be added before :meth:`start`.
        exporters: The exporter of each signal.
        spool: What lies between the two.
        delay: Seconds that a spooled body waits for others before it is sent.
        collector: The collector of metrics, where metrics are exported.
    """

    def __init__(
        self,
        queues: dict[str, SignalQueue],
        exporters: dict[str, SpoolExporter],
        spool: Spool,
        *,
        delay: float,
        collector: MetricCollector | None = None,
    ) -> None:
        self.queues = queues
        self.exporters = exporters
        self.spool = spool
        self._closed = False
        self._ended = False
        self._used = True
        self._has_children = False
        self._has_measurements: Callable[[], bool] = lambda: True
        self._losses = LossReport(spool, exporters)
        self._collector = collector
        self._sender = SenderLoop(exporters, spool, self._losses, delay)
        self._writer = Writer(queues, collector, self._sender, self._finish)
        if collector is not None:
            collector.connect(self._writer, self._sender)
        self._reset()

    def _reset(self) -> None:
        self._finished = threads.allocate_lock()
        self._finished.acquire()
        self._finishing = False
        self._locks_of_fork: dict[int, list[threads.LockType]] = {}

    # Called by the application's threads

    def put(self, signal: str, item: Any) -> None:
        """Queue an ended item.

        When the queue is half full the caller spools a batch itself: back-pressure, not loss.
        """
        if self._closed:
            return
        self._used = True
        queue = self.queues[signal]
        waiting = queue.put(item)
        if waiting % _CHECK_EVERY and 1 < waiting < queue.batch and worker.threads_forbidden is None:
            # The usual case: the writer is awake and will come in time.
            return
        self._look_after(queue, waiting)

    def _look_after(self, queue: SignalQueue, waiting: int) -> None:
        """Wake the writer, or do its work where it is late or cannot run."""
        if worker.threads_forbidden is not None:
            worker.threads_forbidden()
        if waiting == 1:
            queue.oldest_at = time.monotonic()
            threads_forbidden = worker.threads_forbidden is not None
            if queue.unwritten or threads_forbidden:
                # Not in the writer: opening the file takes two dozen system calls, and after each
                # the writer would wait for the GIL.
                queue.unwritten = False
                self._writer.spool_batch(queue, _LOCK_TIMEOUT_S if threads_forbidden else 0.0)
            self._writer.notify()
            if threads_forbidden:
                # There is no thread that could send it: left to other processes.
                self.spool.release_segments()
        elif waiting == queue.batch:
            self._writer.notify()
        elif not waiting % _CHECK_EVERY and time.monotonic() - queue.oldest_at > self._writer.delay:
            # A thread that computes for long keeps the GIL from the writer.
            self._writer.spool_batch(queue, _SHORT_LOCK_TIMEOUT_S)
        elif waiting > queue.batch and queue.pre_encodes and not waiting % PRE_ENCODE_EVERY:
            # A burst: the writer alone would not keep up.
            with guard("encoding telemetry"):
                queue.pre_encode()
        if waiting > queue.capacity // 2:
            full = waiting > queue.capacity
            self._writer.spool_batch(queue, _LOCK_TIMEOUT_S if full else 0.0)
            if full and len(queue.items) > queue.capacity:
                queue.drop_beyond_capacity()

    def leave_metrics(self) -> None:
        """Collect the metrics in the calling thread and leave them to other processes to send."""
        if self._collector is not None:
            self._collector.collect()
        self.spool.release_segments()

    def flush(self, timeout: float, *, collect: bool = True) -> bool:
        """Spool and send everything.

        Args:
            timeout: Seconds to wait for it.
            collect: Whether the metrics are collected first.

        Returns:
            Whether everything was taken by the collector in time.
        """
        if self._closed:
            return False
        done = threads.allocate_lock()
        done.acquire()
        if collect and self._collector is not None:
            self._collector.collect_for(done)
        else:
            self._writer.add_waiters([done])
        if not self.start():
            if self._collector is not None:
                self._collector.run()
            self._writer.run()
            self._sender.run()
        in_time = done.acquire(True, max(0.0, min(timeout, threads.TIMEOUT_MAX)))
        return bool(in_time) and not self.spool.pending()

    def finish(self, budget: float, longest: float = 0.0) -> None:
        """Spool everything, deliver what can be delivered in time, and stop for good. Never raises.

        What is left stays in the spool for the next process.

        Args:
            budget: Seconds that this may take.
            longest: Seconds that it may take with a collector that is known to answer slowly.
        """
        if self._ended:
            return
        if not self._closed:
            budget = exit_timeout(self.exporters.values(), budget, longest)
            self._sender.deadline = time.monotonic() + budget
            # From now on the writer may call _finish() by itself.
            self._closed = self._writer.closed = True
        # Otherwise another thread is finishing, or a signal handler interrupted the first call.
        with gil.short_switch_interval():
            self._finish_within(max(0.0, min(budget, self._sender.deadline - time.monotonic())))

    def _finish_within(self, budget: float) -> None:
        self._sender.worker.leave()
        if self._writer.worker.alive:
            self._writer.worker.stop()
            if self._finished.acquire(True, budget):
                self._finished.release()
        else:
            # At the end of an interpreter no thread can be started: the caller delivers.
            with sdk.suppressed():
                self._finish()
        if self._ended:
            return
        self._ended = True
        # Read before the spool is closed: a closed one is empty.
        left = self.spool.pending()
        self.spool.close()
        for signal, exporter in self.exporters.items():
            # A signal that is still pending may be in the middle of a request.
            if signal not in left:
                exporter.sender.close()
        self._losses.report_unsent(left)

    def _finish(self) -> None:
        """Spool the rest, adopt what children have left, and send everything.

        Does so once, in the writer's thread or, without threads, in the caller's.
        """
        if self._finishing:
            return
        self._finishing = True
        deadline = self._sender.deadline
        waiters = self._writer.take_waiters()
        self._writer.spool_all()
        if self._collector is not None and not self.idle:
            self._collector.collect_last(deadline)
        if self._has_children:
            # They may have left their last items, and no other process may ever adopt them.
            self.spool.adopt()
        pending = self.spool.pending()
        drain_all((each for signal, each in self.exporters.items() if signal in pending), deadline)
        self._losses.report()
        for done in (*waiters, self._finished):
            done.release()

    @property
    def idle(self) -> bool:
        """Whether this is a forked child that recorded nothing but its process metrics."""
        return not self._used and not self._has_measurements()

    # Threads and forks

    def start(self) -> bool:
        """Start the threads unless they run.

        Returns:
            Whether all of them run.
        """
        lock_holders.register("pipeline", self._is_forking)
        collecting = self._collector is None or self._collector.start()
        return all([collecting, self._writer.worker.start(), self._sender.worker.start()])

    def note_children(self) -> None:
        """Note that this process has children, whose segments it adopts at its end."""
        self._has_children = True

    def before_fork(self) -> None:
        """Stop the threads, and take the locks under which SDK locks are taken.

        So the child does not inherit any of them locked.
        """
        self.note_children()
        worker.stop_all(self._workers())
        for exporter in self.exporters.values():
            exporter.sender.before_fork()
        locks = [queue.lock for queue in self.queues.values()]
        if self._collector is not None:
            locks.insert(0, self._collector.lock)
        # With a timeout: the thread that forks may hold one, in a callback of the application.
        end = time.monotonic() + _FORK_LOCK_TIMEOUT_S
        held = [lock for lock in locks if lock.acquire(True, max(0.0, end - time.monotonic()))]
        self._locks_of_fork[threads.get_ident()] = held
        self.spool.before_fork()

    def _is_forking(self) -> bool:
        return threads.get_ident() in self._locks_of_fork

    def after_fork_in_parent(self) -> None:
        """Release the locks and start the threads again."""
        self.spool.after_fork_in_parent()
        for lock in self._locks_of_fork.pop(threads.get_ident(), ()):
            lock.release()
        for each in self._workers():
            each.restart()
        lock_holders.resume()

    def reset_after_fork(self, has_measurements: Callable[[], bool]) -> None:
        """Start with empty queues: the parent delivers what they held.

        Args:
            has_measurements: Returns whether metrics were recorded since the fork.
        """
        self._has_measurements = has_measurements
        lock_holders.reset_after_fork()
        self._used = False
        self._ended = self._closed
        self._has_children = False
        self.spool.reset_after_fork()
        self._losses.reset_after_fork()
        for queue in self.queues.values():
            queue.reset_after_fork()
        for exporter in self.exporters.values():
            exporter.reset_after_fork()
            exporter.health.reset_after_fork()
        self._reset()
        if self._collector is not None:
            self._collector.reset_after_fork()
        self._writer.reset_after_fork()
        self._sender.reset_after_fork()
        self.start()

    def _workers(self) -> list[worker.Worker]:
        collecting = [self._collector.worker] if self._collector is not None else []
        return [*collecting, self._writer.worker, self._sender.worker]
