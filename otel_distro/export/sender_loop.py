"""The thread that sends spooled records, and adopts the segments of processes that have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_distro._runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from otel_distro._runtime.threads import LockType
    from otel_distro.export.loss_report import LossReport
    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.spool.spool import Spool

ADOPT_INTERVAL_S = 5.0
"""Seconds between two searches for segments of processes that have ended."""

FIRST_ADOPTION_S = 1.0
"""Seconds until the first search: a process that ends sooner has no time for others' backlog."""

FLUSH_THRESHOLD_BYTES = 512 * 1024
"""Bytes in the spool that are sent without waiting for more."""

_METRICS_DELAY_S = 1.0
"""Metrics in the spool are sent within this time, however long spans and logs may wait."""

_NEVER = float("inf")


class SenderLoop:
    """Sends what waits in the spool, ``delay`` seconds after the first of it was spooled.

    :meth:`run` is called by one thread at a time, :meth:`notify_spooled` and :meth:`add_waiters` by
    any.
    """

    def __init__(self, exporters: Mapping[str, SpoolExporter], spool: Spool, losses: LossReport, delay: float) -> None:
        self._exporters = exporters
        self._spool = spool
        self._losses = losses
        self._delay = delay
        self.deadline = _NEVER
        """When the last delivery ends, as ``time.monotonic()``: no request lasts longer."""
        self.worker = Worker("the thread that sends telemetry", self.run)
        self._reset(FIRST_ADOPTION_S)

    def _reset(self, first_adoption: float) -> None:
        self._waiters: list[LockType] = []
        self._send_due = self._metrics_due = _NEVER
        self._next_adoption = time.monotonic() + first_adoption

    def reset_after_fork(self) -> None:
        """Start without waiters. A child leaves the backlog of others to its parent for longer."""
        self._reset(ADOPT_INTERVAL_S)
        self.worker.reset_after_fork()

    def notify(self) -> None:
        """Have :meth:`run` called now."""
        self.worker.notify()

    def notify_spooled(self) -> None:
        """Wake the thread after something was spooled, unless it is due soon anyway."""
        if self._send_due == _NEVER or self._waiters or self._spool.pending_bytes > FLUSH_THRESHOLD_BYTES:
            self.worker.notify()

    def add_waiters(self, waiters: Iterable[LockType]) -> None:
        """Release these locks once everything that is spooled now is sent, or cannot be."""
        self._waiters.extend(waiters)

    def run(self) -> float:
        """Adopt and send what is due.

        Returns:
            Seconds until the next call.
        """
        now = time.monotonic()
        waiters, self._waiters = self._waiters, []
        if now >= self._next_adoption and not self.worker.stopping:
            self._next_adoption = now + ADOPT_INTERVAL_S
            self._spool.adopt()
        pending = self._spool.pending()
        if pending and self._send_due == _NEVER:
            self._send_due = now + self._delay
        if waiters:
            for exporter in self._exporters.values():
                exporter.health.reset_backoff()
        if waiters or now >= self._send_due or sum(size for _, size, _ in pending.values()) > FLUSH_THRESHOLD_BYTES:
            self._send_due = self._metrics_due = _NEVER
            self._send(self._exporters.values())
            pending = self._spool.pending()
        elif now >= self._metrics_due:
            self._metrics_due = _NEVER
            self._send((self._exporters["metrics"],))
            pending = self._spool.pending()
        self._losses.report()
        if pending and self._waiters:
            # Cut short by another flush: what the first waiters wait for may not be sent yet.
            self._waiters[:0] = waiters
            return 0.0
        for done in waiters:
            done.release()
        return self._next_call(pending)

    def _next_call(self, pending: Mapping[str, object]) -> float:
        now = time.monotonic()
        if self._send_due == _NEVER:
            # The rest waits for its endpoint, or was spooled while something else was sent.
            left = (exporter for signal, exporter in self._exporters.items() if signal in pending)
            self._send_due = min((max(each.health.retry_at, now + self._delay) for each in left), default=_NEVER)
        if "metrics" in pending and "metrics" in self._exporters and self._metrics_due == _NEVER:
            # Their interval is a setting of its own: they do not wait for a long delay of spans and logs.
            retry_at = self._exporters["metrics"].health.retry_at
            self._metrics_due = max(retry_at, now + min(self._delay, _METRICS_DELAY_S))
        return min(self._send_due, self._metrics_due, self._next_adoption) - now

    def _send(self, exporters: Collection[SpoolExporter]) -> None:
        """Send one request of each signal in turn, until nothing can be sent or a flush begins.

        In turn, because with a slow collector a single signal could occupy this thread for good.
        """
        sent = True
        while sent and not self.worker.stopping:
            sent = False
            for exporter in exporters:
                timeout = min(exporter.sender.endpoint.timeout, self.deadline - time.monotonic())
                if timeout > 0 and not self.worker.stopping and exporter.send_one(timeout):
                    sent = True
            if self._waiters:
                return
