"""From ended items to acknowledged bytes: one thread writes, one thread sends, and the spool lies between them.

The writer makes bytes of what has ended within :data:`WRITE_DELAY` and spools them, whatever the sender is waiting for. So a
kill, an outage, an exit without a collector and a fork are one case: the bytes are on disk, and whoever sends next has them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro import _native, _upstream
from otel_distro._diagnostics import say
from otel_distro._guard import guard
from otel_distro.export.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from otel_distro.export.delivery import Delivery
    from otel_distro.export.lane import Lane
    from otel_distro.export.spool import Spool

WRITE_DELAY = 0.05
"""Seconds within which an ended item is on its way to the disk."""

ADOPT_INTERVAL = 5.0
"""Seconds between two looks for what processes that are gone have left."""

_HURRY_BYTES = 512 * 1024
_LOCK_PATIENCE = 0.1
_FAR = float("inf")


class Pipeline:
    """The lanes and deliveries of all signals and the two threads that work on them.

    ``delay``: seconds a spooled body waits for company before it is sent. ``interval``: seconds between two collections of
    metrics. ``collect``: collects the metrics and spools them.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        deliveries: Mapping[str, Delivery],
        spool: Spool,
        *,
        delay: float,
        interval: float,
        collect: Callable[[], None],
    ) -> None:
        self.lanes = lanes
        self.deliveries = deliveries
        self.spool = spool
        self._delay = delay
        self._interval = interval
        self._collect = collect
        self._closed = False
        self._deadline = _FAR
        self._used = True
        self._measured: Callable[[], bool] = lambda: True
        self._reported: dict[tuple[str, str], int] = {}
        self._writer = Worker("the thread that writes telemetry", self._write)
        self._sender = Worker("the thread that sends telemetry", self._send)
        self._renew()

    def _renew(self) -> None:
        now = time.monotonic()
        self._encoding = _native.allocate_lock()
        self._written_waiters: list[Any] = []
        self._sent_waiters: list[Any] = []
        self._write_due = _FAR
        self._send_due = _FAR
        self._next_collect = now + self._interval
        self._next_adoption = now

    # What the application's threads call

    def put(self, signal: str, item: Any) -> None:
        """Queue an ended item. When its queue is half full the caller spools a batch itself: back-pressure, not loss."""
        if self._closed:
            return
        self._used = True
        lane = self.lanes[signal]
        waiting = lane.put(item)
        if waiting in (1, lane.batch):
            self._writer.notify()
        if waiting > lane.capacity // 2:
            self._help(lane, patient=waiting > lane.capacity)

    def _help(self, lane: Lane, *, patient: bool) -> None:
        if self._encoding.acquire(patient, _LOCK_PATIENCE if patient else -1):
            try:
                with guard("spooling telemetry"), _upstream.suppressed():
                    lane.spool_batch()
            finally:
                self._encoding.release()
            self._sender.notify()
        if patient and len(lane.items) > lane.capacity:
            lane.drop_beyond_capacity()

    def flush(self, timeout: float) -> bool:
        """Collect, spool and send everything; return whether all was taken within ``timeout`` seconds."""
        if self._closed:
            return False
        done = _native.allocate_lock()
        done.acquire()
        self._written_waiters.append(done)
        if not self.start():
            self._write()
            self._send()
        self._writer.notify()
        in_time = done.acquire(True, max(0.0, min(timeout, _native.TIMEOUT_MAX)))
        return bool(in_time) and not self.spool.pending()

    def finish(self, budget: float) -> None:
        """Spool everything, deliver what can be delivered within ``budget`` seconds, and stop for good. Never raises.

        What is left stays in the spool for the next process.
        """
        if self._closed:
            return
        self._closed = True
        self._deadline = time.monotonic() + budget
        done = _native.allocate_lock()
        done.acquire()
        self._written_waiters.append(done)
        if self._writer.alive and self._sender.alive:
            self._writer.stop()
            done.acquire(True, budget)
        else:
            # No threads can be had any more at the end of an interpreter: the caller does it.
            with _upstream.suppressed():
                self._write()
                self._send()
        self.spool.close()
        self._say_what_is_left()

    def write_now(self, patience: float) -> None:
        """Spool what has ended, metrics too, without sending: the process is about to vanish or become another one."""
        if self._closed:
            return
        done = _native.allocate_lock()
        done.acquire()
        self._written_waiters.append(done)
        self._only_write = True
        if self._writer.alive:
            self._writer.notify()
            done.acquire(True, patience)
        else:
            with _upstream.suppressed():
                self._write()

    _only_write = False

    def _say_what_is_left(self) -> None:
        left = {signal: items for signal, (items, _, _) in self.spool.pending().items() if items}
        if left:
            counts = ", ".join(f"{items} of {signal}" for signal, items in left.items())
            fate = "kept on disk for the next start" if self.spool.durable else "lost"
            say(f"not delivered before the end of the process, {fate}: {counts}", cause="undelivered")

    # Life cycle

    def start(self) -> bool:
        """Start the threads unless they run; return whether they run."""
        return self._writer.start() and self._sender.start()

    def before_fork(self) -> None:
        """Send the threads home and hold the lock under which SDK locks are taken, so that the child finds them open."""
        self._encoding.acquire(True, 1.0)
        self._writer.send_home()
        self._sender.send_home()
        self.spool.before_fork()

    def after_fork_in_parent(self) -> None:
        """Take up the work again."""
        self.spool.after_fork_in_parent()
        if self._encoding.locked():
            self._encoding.release()
        self._writer.call_back()
        self._sender.call_back()

    def after_fork_in_child(self, measured: Callable[[], bool]) -> None:
        """Start empty: what waited is the parent's to deliver. ``measured``: whether metrics were recorded since."""
        self._measured = measured
        self._used = False
        self.spool.after_fork_in_child()
        self._reported.clear()
        for lane in self.lanes.values():
            lane.forget()
        for delivery in self.deliveries.values():
            delivery.forget()
            delivery.link.forget()
        self._renew()
        self._writer.renew()
        self._sender.renew()
        self.start()

    # What the writer does

    def _write(self) -> float:
        now = time.monotonic()
        waiting = any(lane.items for lane in self.lanes.values())
        if waiting and self._write_due == _FAR:
            self._write_due = now + WRITE_DELAY
        waiters, self._written_waiters = self._written_waiters, []
        if waiters or now >= min(self._write_due, self._next_collect) or self._full():
            self._write_due = _FAR
            leaving = self._closed or self._only_write
            self._spool_all(collect=(bool(waiters) and not (leaving and self._idle())) or now >= self._next_collect)
            self._settle(waiters)
        return min(self._write_due, self._next_collect) - time.monotonic()

    def _idle(self) -> bool:
        """Whether this is a forked child that did nothing worth a report: its process metrics would be all of it."""
        return not self._used and not self._measured()

    def _full(self) -> bool:
        return any(len(lane.items) >= lane.batch for lane in self.lanes.values())

    def _spool_all(self, *, collect: bool) -> None:
        with self._encoding:
            if collect:
                self._next_collect = time.monotonic() + self._interval
                with guard("collecting metrics"):
                    self._collect()
            for lane in self.lanes.values():
                with guard(f"spooling {lane.signal}"):
                    while lane.spool_batch():
                        pass

    def _settle(self, waiters: list[Any]) -> None:
        if self._only_write:
            self._only_write = False
            for done in waiters:
                done.release()
            return
        self._sent_waiters.extend(waiters)
        if self._closed:
            self._sender.stop()
        else:
            self._sender.notify()

    # What the sender does

    def _send(self) -> float:
        now = time.monotonic()
        waiters, self._sent_waiters = self._sent_waiters, []
        if now >= self._next_adoption:
            self._next_adoption = now + ADOPT_INTERVAL
            self.spool.adopt()
        pending = self.spool.pending()
        if pending and self._send_due == _FAR:
            self._send_due = now + self._delay
        if waiters:
            for delivery in self.deliveries.values():
                delivery.link.try_now()
        if waiters or now >= self._send_due or sum(size for _, size, _ in pending.values()) > _HURRY_BYTES:
            self._send_due = _FAR
            self._deliver()
            pending = self.spool.pending()
        self._report_losses()
        for done in waiters:
            done.release()
        if self._closed:
            for delivery in self.deliveries.values():
                delivery.sender.close()
        return self._nap(pending)

    def _nap(self, pending: Mapping[str, object]) -> float:
        now = time.monotonic()
        if self._send_due == _FAR:
            # What is left waits for its link, or came while the rest was sent.
            left = (delivery for signal, delivery in self.deliveries.items() if signal in pending)
            self._send_due = min((max(d.link.retry_at, now + self._delay) for d in left), default=_FAR)
        return min(self._send_due, self._next_adoption) - now

    def _deliver(self) -> None:
        """Send in turns, one request of each signal, until nothing waits or nothing goes."""
        going = list(self.deliveries.values())
        while going and not self._sender.leaving:
            for delivery in list(going):
                timeout = min(delivery.sender.target.timeout, self._deadline - time.monotonic())
                if timeout <= 0 or self._sender.leaving or not delivery.send_one(timeout):
                    going.remove(delivery)

    def _report_losses(self) -> None:
        for (signal, reason), total in self.spool.dropped().items():
            new = total - self._reported.get((signal, reason), 0)
            self._reported[signal, reason] = total
            delivery = self.deliveries.get(signal)
            if new > 0 and reason != "rejected":
                say(
                    f"{new} items of {signal} were dropped from the spool: {reason}", cause=f"dropped {signal} {reason}"
                )
                if delivery is not None:
                    delivery.lost(new, reason)
