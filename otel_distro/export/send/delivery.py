"""Takes the oldest spooled requests of one signal to the collector, and does what the answer asks for."""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING

from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import say
from otel_distro.export.encode.split import count_items, split
from otel_distro.export.send.http_sender import ExportResult

if TYPE_CHECKING:
    from otel_distro.export.self_metrics import ExporterMetrics
    from otel_distro.export.send.http_sender import Outcome, Transport
    from otel_distro.export.spool.spool import Batch, Spool

MAX_REQUEST = 1024 * 1024
"""Bytes of a request before compression."""

_MAX_SINGLE_REJECTIONS = 16
"""Items refused one by one, and none taken, after which the rest of a batch is not looked through any more."""

_TOO_LARGE = 413
_SMALLEST_LIMIT = 1024
_FIRST_BACKOFF = 0.5
_MAX_BACKOFF = 5.0


class EndpointHealth:
    """What is known of a destination that several signals share: when one cannot reach it, the others need not try."""

    def __init__(self, origin: str, spool: Spool) -> None:
        self.origin = origin
        self.retry_at = 0.0
        self.answer_time = 0.0
        """Seconds that the last answer took; 0 where the last attempt failed, or none was made."""
        self._spool = spool
        self._failures = 0
        self._down_since = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def failed(self, reason: str, retry_after: float, now: float) -> None:
        """Note a failed attempt; the next one is due after a growing, scattered delay or when the server says."""
        if not self._failures:
            self._down_since = now
            place = "on disk" if self._spool.durable else "in memory"
            say(f"cannot deliver to {self.origin} ({reason}); keeping telemetry {place}", cause=f"down {self.origin}")
        delay = min(_MAX_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._failures, 10))
        self._failures += 1
        self.answer_time = 0.0
        self.retry_at = now + max(retry_after, delay * random.uniform(0.6, 1.0))  # noqa: S311 - scatters, protects nothing

    def works(self, now: float, took: float) -> None:
        """Note a request that was answered after ``took`` seconds."""
        if self._failures:
            say(f"delivering to {self.origin} again after {now - self._down_since:.0f} s", cause=f"up {self.origin}")
        self._failures = 0
        self.retry_at = 0.0
        self.answer_time = took

    def try_now(self) -> None:
        """Let the next attempt be made at once."""
        self.retry_at = 0.0

    def forget(self) -> None:
        """Start without a past: in a forked child."""
        self._failures = 0
        self.retry_at = self.answer_time = 0.0


class SpoolExporter:
    """The sending half of a signal. Used by one thread at a time."""

    def __init__(
        self,
        signal: str,
        sender: Transport,
        spool: Spool,
        link: EndpointHealth,
        metrics: ExporterMetrics,
        *,
        second: bool = False,
    ) -> None:
        self.signal = signal
        self._second = second
        self.link = link
        self.sender = sender
        self._spool = spool
        self._metrics = metrics
        self._batch: Batch | None = None
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._rejected_items: list[tuple[bytes, int, str]] = []
        self._taken_of_batch = False
        self._limit = MAX_REQUEST
        self._turn = threads.allocate_lock()

    def report_to(self, metrics: ExporterMetrics) -> None:
        """Report to other counters from here on."""
        self._metrics = metrics

    def send_one(self, timeout: float, patience: float = 0.0) -> bool:
        """Send one request; return whether another may follow at once.

        One thread at a time: another waits up to ``patience`` seconds and then leaves it.
        """
        if not self._turn.acquire(True, patience):
            return False
        try:
            return self._send_one(timeout)
        finally:
            self._turn.release()

    def _send_one(self, timeout: float) -> bool:
        now = time.monotonic()
        if now < self.link.retry_at:
            return False
        if self._batch is None:
            self._batch = self._spool.next(self.signal, self._limit, beside=self._second)
            if self._batch is None:
                return False
            self._pieces.append((self._batch.body, self._batch.count))
        self._keep_to_limit()
        body, count = self._pieces[0]
        with self._metrics.sending(count):
            outcome = self.sender.send(body, timeout)
        start, now = now, time.monotonic()
        if outcome.answer is ExportResult.RETRYABLE:
            if outcome.reason:
                self.link.failed(outcome.reason, outcome.retry_after, now)
            self._give_back(self._batch)
            return False
        self.link.works(now, now - start)
        self._pieces.popleft()
        if outcome.answer is ExportResult.PERMANENT:
            self._refused(body, count, outcome)
        else:
            self._taken(count, outcome)
        if not self._pieces:
            self._end(self._batch)
        return True

    def send_last(self, end: float) -> None:
        """Send what waits until ``end``, as ``time.monotonic()``, and leave the rest."""
        self.link.try_now()
        while (left := end - time.monotonic()) > 0 and self.send_one(left, patience=left):
            pass
        self.leave()
        self.sender.close()

    def beside(self) -> SpoolExporter | None:
        """Return another delivery of the same signal for what this one has not taken, None if it is not at a request."""
        if not self._turn.locked():
            return None
        return SpoolExporter(self.signal, self.sender.another(), self._spool, self.link, self._metrics, second=True)

    def await_answer(self, end: float) -> None:
        """Wait for the answer to the request that another thread is at, until ``end``, as ``time.monotonic()``."""
        if self._turn.acquire(True, max(0.0, end - time.monotonic())):
            self._turn.release()
            self.leave()
            self.sender.close()

    def leave(self) -> None:
        """Leave to the next process what is not delivered: of a batch in pieces only those, so that none is sent twice.

        To be called before the spool is closed. A request that is under way in another thread stays that thread's.
        """
        if not self._turn.acquire(False):
            return
        try:
            if self._batch is not None:
                self._give_back(self._batch)
        finally:
            self._turn.release()

    def lost(self, count: int, reason: str) -> None:
        """Count items that the spool had to drop."""
        self._metrics.exported(count, reason)

    def _taken(self, count: int, outcome: Outcome) -> None:
        rejected = min(outcome.rejected, count)
        self._taken_of_batch = True
        self._metrics.exported(count - rejected)
        if rejected:
            self._metrics.exported(rejected, "rejected")
            say(
                f"{rejected} items of {self.signal} were rejected by {self.link.origin} (partial success)",
                cause=f"rejected {self.signal}",
            )

    def _refused(self, body: bytes, count: int, outcome: Outcome) -> None:
        """Halve the request until the item that is to blame stands alone, and set that one aside."""
        if outcome.status == _TOO_LARGE:
            self._limit = max(_SMALLEST_LIMIT, min(self._limit, len(body) // 2))
        halves = split(body) if self._taken_of_batch or len(self._rejected_items) < _MAX_SINGLE_REJECTIONS else None
        if halves is not None:
            self._pieces.extendleft((half, count_items(half)) for half in reversed(halves))
            return
        self._rejected_items.append((body, count, outcome.reason))
        self._metrics.exported(count, outcome.reason)
        say(
            f"{count} of {self.signal} refused by {self.link.origin} ({outcome.reason}) and set aside",
            cause=f"refused {self.signal}",
        )

    def _keep_to_limit(self) -> None:
        """Halve the next piece until it is as small as a collector asked for that found an earlier one too large."""
        while len(self._pieces[0][0]) > self._limit:
            halves = split(self._pieces[0][0])
            if halves is None:
                return
            self._pieces.popleft()
            self._pieces.extendleft((half, count_items(half)) for half in reversed(halves))

    def _give_back(self, batch: Batch) -> None:
        """Leave what is not delivered to the spool: the batch as it was, or the pieces of it that are left."""
        if len(self._pieces) == 1 and self._pieces[0][0] is batch.body:
            self._spool.put_back(batch)
            self._forget_batch()
            return
        for body, count in self._pieces:
            self._spool.append(self.signal, body, count)
        self._end(batch)

    def _end(self, batch: Batch) -> None:
        for body, count, reason in self._rejected_items:
            self._spool.dead_letter(batch, reason, body, count)
        self._spool.done(batch)
        self._forget_batch()

    def _forget_batch(self) -> None:
        self._batch = None
        self._pieces.clear()
        self._rejected_items.clear()
        self._taken_of_batch = False

    def forget(self) -> None:
        """Start without a past: in a forked child, whose parent goes on with its own."""
        self._turn = threads.allocate_lock()
        self._forget_batch()
        self.sender.forget()
