"""One thread that makes bytes of what has ended and hands them to the collector.

The thread and its locks are the interpreter's own (:mod:`otel_distro._native`): upstream's hang at exit in programs that
gevent has patched. Before a fork the thread is sent home, because
Python 3.12 warns whoever forks with more than one, and because a lock held by it would stay locked in the child for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro import _native, _upstream
from otel_distro._diagnostics import say
from otel_distro._guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from otel_distro.export.lane import Lane


class Pipeline:
    """The lanes of all signals and the thread that empties them.

    ``delay``: seconds an ended item waits for company. ``interval``: seconds between two collections of metrics.
    ``collect``: collects the metrics and puts them into their lane by :meth:`Lane.hold`.
    """

    def __init__(
        self, lanes: Mapping[str, Lane], *, delay: float, interval: float, collect: Callable[[], None]
    ) -> None:
        self.lanes = lanes
        self._delay = delay
        self._interval = interval
        self._collect = collect
        self._next_collect = time.monotonic() + interval
        self._generation = 0
        self._stopped = False
        self._closed = False
        self._deadline = float("inf")
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._encoding = _native.allocate_lock()
        self._running = _native.allocate_lock()
        self._wake = _native.allocate_lock()
        self._wake.acquire()
        self._alive = False
        self._waiters: list[Any] = []

    # What the application's threads call -------------------------------------------------------------------------------

    def put(self, signal: str, item: Any) -> None:
        """Queue an ended item. When the queue is half full the caller makes a batch of bytes of it: back-pressure."""
        if self._closed:
            return
        lane = self.lanes[signal]
        waiting = lane.put(item)
        if waiting in (1, lane.batch):
            self._notify()
        if waiting > lane.capacity // 2 and self._encoding.acquire(False):
            try:
                with guard("encoding telemetry"), _upstream.suppressed():
                    lane.encode_batch()
            finally:
                self._encoding.release()

    def flush(self, timeout: float) -> bool:
        """Collect, encode and send everything; return whether all of it was taken within ``timeout`` seconds."""
        if self._closed:
            return False
        done = _native.allocate_lock()
        done.acquire()
        self._waiters.append(done)
        self.start()
        self._notify()
        return bool(done.acquire(True, max(0.0, min(timeout, _native.TIMEOUT_MAX)))) and not self._undelivered()

    def finish(self, budget: float) -> None:
        """Deliver what can be delivered within ``budget`` seconds and stop for good. Never raises, never takes longer."""
        if self._closed:
            return
        self._closed = True
        self._deadline = time.monotonic() + budget
        done = _native.allocate_lock()
        done.acquire()
        self._waiters.append(done)
        self._stopped = True
        self._notify()
        if self._alive:
            done.acquire(True, budget)
        else:
            # No thread can be started any more at the end of an interpreter: the caller does it.
            self._last_round()
        if lost := self._undelivered():
            counts = ", ".join(f"{n} of {signal}" for signal, n in lost.items())
            origin = next(iter(self.lanes.values())).sender.target.origin
            say(f"not delivered to {origin} before the end of the process: {counts}", cause="undelivered")

    def _undelivered(self) -> dict[str, int]:
        counts = {signal: lane.undelivered() for signal, lane in self.lanes.items()}
        return {signal: n for signal, n in counts.items() if n}

    def _notify(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:
            # Notified already.
            return

    # Life cycle ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread unless it runs. Where no thread can be started, everything is sent at exit."""
        if self._alive or self._stopped:
            return
        self._alive = True
        try:
            _native.start_new_thread(self._run, (self._generation,))
        except RuntimeError:
            self._alive = False

    def before_fork(self) -> None:
        """Send the thread home and hold the lock under which SDK locks are taken, so that the child finds them open."""
        threads = _native.thread_count()
        idle = self._alive and not self._encoding.locked()
        self._generation += 1
        self._encoding.acquire(True, 1.0)
        self._notify()
        if idle:
            _native.await_fewer_threads(threads)

    def after_fork_in_parent(self) -> None:
        """Take up the work again."""
        if self._encoding.locked():
            self._encoding.release()
        self._alive = False
        self.start()

    def after_fork_in_child(self) -> None:
        """Start empty: what waited is the parent's to deliver."""
        self._renew_locks()
        for lane in self.lanes.values():
            lane.forget()
        self._next_collect = time.monotonic() + self._interval
        self.start()

    # What the thread does -----------------------------------------------------------------------------------------------

    def _run(self, generation: int) -> None:
        with self._running, guard("the export thread"), _upstream.suppressed():
            due = float("inf")
            while generation == self._generation and not self._stopped:
                waiting = any(lane.items for lane in self.lanes.values())
                if waiting and due == float("inf"):
                    due = time.monotonic() + self._delay
                self._wake.acquire(True, self._nap(due))
                if generation != self._generation or self._stopped:
                    break
                if self._waiters or time.monotonic() >= due or self._full():
                    due = float("inf")
                    self._round()
                elif time.monotonic() >= self._next_collect or self._retry_due():
                    self._round()
        if generation == self._generation and self._stopped:
            self._last_round()

    def _nap(self, due: float) -> float:
        now = time.monotonic()
        moments = [due, self._next_collect]
        moments.extend(lane.retry_at or now for lane in self.lanes.values() if lane.held)
        return min(max(0.0, min(moments) - now), 3600.0)

    def _full(self) -> bool:
        return any(len(lane.items) >= lane.batch for lane in self.lanes.values())

    def _retry_due(self) -> bool:
        return any(lane.held and lane.retry_at <= time.monotonic() for lane in self.lanes.values())

    def _round(self) -> None:
        waiters, self._waiters = self._waiters, []
        self._encode_all(collect=bool(waiters) or time.monotonic() >= self._next_collect)
        if waiters:
            for lane in self.lanes.values():
                lane.retry_at = 0.0
        self._deliver()
        for done in waiters:
            done.release()

    def _encode_all(self, *, collect: bool) -> None:
        with self._encoding:
            if collect:
                self._next_collect = time.monotonic() + self._interval
                with guard("collecting metrics"):
                    self._collect()
            for lane in self.lanes.values():
                while lane.encode_batch():
                    pass

    def _deliver(self) -> None:
        generation = self._generation
        for lane in self.lanes.values():
            while generation == self._generation:
                now = time.monotonic()
                timeout = min(lane.sender.target.timeout, self._deadline - now)
                if timeout <= 0 or not lane.deliver_one(now, timeout):
                    break
                if len(lane.items) > lane.capacity // 2:
                    # A long backlog must not let the queue run over meanwhile.
                    self._encode_all(collect=False)

    def _last_round(self) -> None:
        with guard("the last delivery"), _upstream.suppressed():
            for lane in self.lanes.values():
                lane.retry_at = 0.0
            self._encode_all(collect=True)
            self._deliver()
            for lane in self.lanes.values():
                lane.sender.close()
        for done in self._waiters:
            done.release()
        self._waiters = []
