"""Sends the spooled requests of one signal, oldest first, and acts on the collector's answers."""

from __future__ import annotations

import random
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.worker import run_in_thread
from otel_distro.export.encode.split import count_items, split
from otel_distro.export.send.http_sender import ExportResult
from otel_distro.export.spool.directory import REJECTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_distro.export.self_metrics import ExporterMetrics
    from otel_distro.export.send.http_sender import Outcome, Transport
    from otel_distro.export.spool.spool import Batch, Spool

MAX_REQUEST_BYTES = 1024 * 1024
"""Bytes of a request before compression."""

MAX_EXIT_TIMEOUT_S = 4.5
"""Seconds that the end of a process may take where the collector is known to answer, but slowly."""

_MAX_SINGLE_REJECTIONS = 16
"""Items rejected one by one, and none accepted, after which the rest of a batch is not bisected."""

_TOO_LARGE = 413
_MIN_REQUEST_BYTES = 1024
_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 5.0
_ANSWER_TIME_FACTOR = 1.1
_SLOW_ANSWER_S = 0.5
_RELEASE_TIME_S = 0.05
"""Time before the exit deadline that is kept for returning unsent batches to the spool."""


class EndpointHealth:
    """Whether a collector answers, and when to try again; shared by the signals sent to it.

    So a signal does not try an endpoint that another one has just found unreachable.
    """

    def __init__(self, origin: str, spool: Spool) -> None:
        self.origin = origin
        self.retry_at = 0.0
        """``time.monotonic()`` before which no attempt is made."""
        self.answer_time = 0.0
        """Seconds that the last answer took; 0 where the last attempt failed, or none was made."""
        self._spool = spool
        self._failures = 0
        self._down_since = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def record_failure(self, reason: str, retry_after: float, now: float) -> None:
        """Schedule the next attempt: after a growing, randomised delay, or as the server asks."""
        if not self._failures:
            self._down_since = now
            place = "on disk" if self._spool.durable else "in memory"
            say(
                f"cannot deliver to {self.origin} ({reason}); keeping telemetry {place} and retrying",
                cause=f"down {self.origin}",
                code="OD320",
            )
        delay = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self.answer_time = 0.0
        self.retry_at = now + max(retry_after, delay * random.uniform(0.6, 1.0))  # noqa: S311 - jitter, no secret

    def record_answer(self, now: float, took: float) -> None:
        """Note a request that was answered after ``took`` seconds."""
        if self._failures:
            say(
                f"delivering to {self.origin} again after {now - self._down_since:.0f} s",
                cause=f"up {self.origin}",
                code="OD321",
            )
        self._failures = 0
        self.retry_at = 0.0
        self.answer_time = took

    def reset_backoff(self) -> None:
        """Allow the next attempt at once."""
        self.retry_at = 0.0

    def reset_after_fork(self) -> None:
        """Forget earlier failures in a forked child."""
        self._failures = 0
        self.retry_at = self.answer_time = 0.0


class SpoolExporter:
    """Sends the batches of one signal from the spool. Used by one thread at a time.

    Args:
        signal: The signal.
        sender: Sends requests to the signal's endpoint.
        spool: Where the batches come from.
        health: The state of the endpoint, shared with other signals.
        metrics: Counts what is sent.
        secondary: Whether it sends beside another exporter of the same signal, see
            :meth:`clone_for_rest`.
    """

    def __init__(
        self,
        signal: str,
        sender: Transport,
        spool: Spool,
        health: EndpointHealth,
        metrics: ExporterMetrics,
        *,
        secondary: bool = False,
    ) -> None:
        self.signal = signal
        self.sender = sender
        self.health = health
        self._secondary = secondary
        self._spool = spool
        self._metrics = metrics
        self._batch: Batch | None = None
        self._pieces: deque[tuple[bytes, int]] = deque()
        """Parts of the batch that are still to be sent: bodies and their numbers of items."""
        self._rejected_items: list[tuple[bytes, int, str]] = []
        self._accepted_any = False
        """Whether the collector has accepted a piece of the batch."""
        self._max_bytes = MAX_REQUEST_BYTES
        self._lock = threads.allocate_lock()

    def report_to(self, metrics: ExporterMetrics) -> None:
        """Count in ``metrics`` from now on."""
        self._metrics = metrics

    def send_one(self, timeout: float, lock_timeout: float = 0.0) -> bool:
        """Send one request.

        Args:
            timeout: Seconds that the request may take.
            lock_timeout: Seconds to wait for another thread that sends; it is left alone after
                them.

        Returns:
            Whether another request may follow at once.
        """
        if not self._lock.acquire(True, lock_timeout):
            return False
        try:
            return self._send_one(timeout)
        finally:
            self._lock.release()

    def _send_one(self, timeout: float) -> bool:
        now = time.monotonic()
        if now < self.health.retry_at:
            return False
        if self._batch is None:
            self._batch = self._spool.lease(self.signal, self._max_bytes, secondary=self._secondary)
            if self._batch is None:
                return False
            self._pieces.append((self._batch.body, self._batch.count))
        self._split_to_limit()
        body, count = self._pieces[0]
        with self._metrics.sending(count):
            outcome = self.sender.send(body, timeout)
        start, now = now, time.monotonic()
        if outcome.answer is ExportResult.RETRYABLE:
            if outcome.reason:
                self.health.record_failure(outcome.reason, outcome.retry_after, now)
            self._return_to_spool(self._batch)
            return False
        self.health.record_answer(now, now - start)
        self._pieces.popleft()
        if outcome.answer is ExportResult.PERMANENT:
            self._bisect(body, count, outcome)
        else:
            self._count_accepted(count, outcome)
        if not self._pieces:
            self._finish_batch(self._batch)
        return True

    def drain(self, deadline: float) -> None:
        """Send what waits until ``deadline``, then release the rest and close the connection."""
        self.health.reset_backoff()
        while (left := deadline - time.monotonic()) > 0 and self.send_one(left, lock_timeout=left):
            pass
        self.release()
        self.sender.close()

    def clone_for_rest(self) -> SpoolExporter | None:
        """Return an exporter for what this one has not leased.

        None if no thread is sending with this one: then it can send the rest itself.
        """
        if not self._lock.locked():
            return None
        return SpoolExporter(self.signal, self.sender.clone(), self._spool, self.health, self._metrics, secondary=True)

    def wait_for_answer(self, deadline: float) -> None:
        """Wait until ``deadline`` for another thread's request, then release the rest."""
        if self._lock.acquire(True, max(0.0, deadline - time.monotonic())):
            self._lock.release()
            self.release()
            self.sender.close()

    def release(self) -> None:
        """Return unsent requests to the spool: of a bisected batch only the pieces that are left.

        To be called before the spool is closed. Does nothing while another thread sends.
        """
        if not self._lock.acquire(False):
            return
        try:
            if self._batch is not None:
                self._return_to_spool(self._batch)
        finally:
            self._lock.release()

    def count_dropped(self, count: int, reason: str) -> None:
        """Count items that the spool had to drop."""
        self._metrics.exported(count, reason)

    def _count_accepted(self, count: int, outcome: Outcome) -> None:
        rejected = min(outcome.rejected, count)
        self._accepted_any = True
        self._metrics.exported(count - rejected)
        if rejected:
            self._metrics.exported(rejected, "rejected")
            say(
                f"{rejected} items of {self.signal} were rejected by {self.health.origin} and are lost (partial success)",
                cause=f"rejected {self.signal}",
                code="OD322",
            )

    def _bisect(self, body: bytes, count: int, outcome: Outcome) -> None:
        """Halve a rejected request down to the rejected item, which becomes a dead letter."""
        if outcome.status == _TOO_LARGE:
            self._max_bytes = max(_MIN_REQUEST_BYTES, min(self._max_bytes, len(body) // 2))
        halves = split(body) if self._accepted_any or len(self._rejected_items) < _MAX_SINGLE_REJECTIONS else None
        if halves is not None:
            self._pieces.extendleft((half, count_items(half)) for half in reversed(halves))
            return
        self._rejected_items.append((body, count, outcome.reason))
        self._metrics.exported(count, outcome.reason)
        say(
            f"{count} items of {self.signal} refused by {self.health.origin} ({outcome.reason}),"
            f" not sent again{self._kept_at()}",
            cause=f"refused {self.signal}",
            code="OD323",
        )

    def _kept_at(self) -> str:
        return f" and kept in {self._spool.folder}/{REJECTED}" if self._spool.folder else ""

    def _split_to_limit(self) -> None:
        """Halve the next piece until it is as short as the collector is known to accept."""
        while len(self._pieces[0][0]) > self._max_bytes:
            halves = split(self._pieces[0][0])
            if halves is None:
                return
            self._pieces.popleft()
            self._pieces.extendleft((half, count_items(half)) for half in reversed(halves))

    def _return_to_spool(self, batch: Batch) -> None:
        """Release the whole batch, or append the pieces of it that are left and acknowledge it."""
        if len(self._pieces) == 1 and self._pieces[0][0] is batch.body:
            self._spool.release(batch)
            self._forget_batch()
            return
        for body, count in self._pieces:
            self._spool.append(self.signal, body, count)
        self._finish_batch(batch)

    def _finish_batch(self, batch: Batch) -> None:
        for body, count, reason in self._rejected_items:
            self._spool.dead_letter(batch, reason, body, count)
        self._spool.acknowledge(batch)
        self._forget_batch()

    def _forget_batch(self) -> None:
        self._batch = None
        self._pieces.clear()
        self._rejected_items.clear()
        self._accepted_any = False

    def reset_after_fork(self) -> None:
        """Forget the batch in a forked child: the parent sends it."""
        self._lock = threads.allocate_lock()
        self._forget_batch()
        self.sender.reset_after_fork()


def exit_timeout(exporters: Iterable[SpoolExporter], budget: float, longest: float) -> float:
    """Return the seconds that sending at the end of the process may take.

    That is ``budget``, or the time of one answer of a slow collector if that is at most
    ``longest``. A collector that has not answered the last request gets ``budget``, and so does one
    that needs more than ``longest``.
    """
    needed = _ANSWER_TIME_FACTOR * max((exporter.health.answer_time for exporter in exporters), default=0.0)
    return needed if budget < needed <= longest else budget


def drain_all(exporters: Iterable[SpoolExporter], deadline: float) -> None:
    """Send what waits until ``deadline``, each signal in a thread of its own.

    ``deadline`` is as ``time.monotonic()``. What is unsent then stays in the spool.
    """
    end = deadline - _RELEASE_TIME_S
    running: list[threads.LockType] = []
    for exporter in exporters:
        what = f"the last delivery of {exporter.signal}"
        if exporter.health.answer_time > _SLOW_ANSWER_S and (rest := exporter.clone_for_rest()) is not None:
            # Newer items would wait for the answer to the current request, and then for theirs.
            running.append(run_in_thread(what, partial(rest.drain, end)))
            running.append(run_in_thread(what, partial(exporter.wait_for_answer, end)))
        else:
            running.append(run_in_thread(what, partial(exporter.drain, end)))
    for done in running:
        done.acquire(True, max(0.0, deadline - time.monotonic()))
