"""What waits of one signal: items that ended, and bodies that were encoded and not yet taken by the collector."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

from otel_distro._diagnostics import say
from otel_distro._guard import report
from otel_distro.export.sender import Answer, Sender, compress

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.export.self_metrics import LaneMetrics

HELD_BYTES = 32 * 1024 * 1024
"""Bytes of encoded bodies that one signal may hold in memory while the collector is away."""

_MAX_BACKOFF = 30.0


class Lane:
    """The queue of one signal. ``put`` is called by the application's threads, the rest by one thread at a time."""

    def __init__(
        self,
        signal: str,
        sender: Sender,
        encode: Callable[[Any], bytes],
        metrics: LaneMetrics,
        *,
        capacity: int = 2048,
        batch: int = 512,
    ) -> None:
        self.signal = signal
        self.sender = sender
        self.capacity = capacity
        self.batch = min(batch, capacity)
        self.items: deque[Any] = deque()
        self.held: deque[tuple[bytes, int]] = deque()
        self.held_bytes = 0
        self.retry_at = 0.0
        self._encode = encode
        self._metrics = metrics
        self._failures = 0
        self._lost = 0
        metrics.watch_queue(lambda: len(self.items))

    def report_to(self, metrics: LaneMetrics) -> None:
        """Report to other counters from here on."""
        self._metrics = metrics

    def put(self, item: Any) -> int:
        """Queue an item and return how many wait now. At capacity the oldest is dropped and counted."""
        items = self.items
        items.append(item)
        waiting = len(items)
        if waiting > self.capacity:
            try:
                items.popleft()
            except IndexError:
                return 0
            self._metrics.dropped(1, "queue_full")
            self._lost += 1
        return waiting

    def encode_batch(self) -> bool:
        """Make one body of at most a batch of waiting items; return whether there was anything to do."""
        batch: list[Any] = []
        try:
            while len(batch) < self.batch:
                batch.append(self.items.popleft())
        except IndexError:
            if not batch:
                return False
        self._metrics.processed(len(batch))
        self.hold(self._encode_guarded(batch), len(batch))
        return True

    def _encode_guarded(self, batch: list[Any]) -> bytes:
        """Encode all items together, or one by one where one of them cannot be, so that it goes alone."""
        try:
            return self._encode(batch)
        except Exception:
            bodies = []
            for item in batch:
                try:
                    bodies.append(self._encode([item]))
                except Exception as error:
                    self._metrics.dropped(1, "unencodable")
                    report(f"encoding an item of {self.signal}", error)
            # Serialised OTLP requests may be concatenated: repeated fields add up.
            return b"".join(bodies)

    def hold(self, body: bytes, count: int) -> None:
        """Keep an encoded body until the collector takes it; beyond the bound the oldest goes and is counted."""
        if not body:
            return
        if self.sender.target.gzip:
            body = compress(body)
        self.held.append((body, count))
        self.held_bytes += len(body)
        while self.held_bytes > HELD_BYTES and len(self.held) > 1:
            self._metrics.exported(self._drop_head(), "memory_full")

    def _drop_head(self) -> int:
        body, count = self.held.popleft()
        self.held_bytes -= len(body)
        self._lost += count
        return count

    def deliver_one(self, now: float, timeout: float) -> bool:
        """Send the oldest body; return whether another may follow at once."""
        if not self.held or now < self.retry_at:
            return False
        body, count = self.held[0]
        with self._metrics.sending(count):
            outcome = self.sender.send(body, timeout)
        if outcome.answer is Answer.HOLD:
            self._failed(outcome.reason, now + max(self._backoff(), outcome.retry_after))
            return False
        self.held.popleft()
        self.held_bytes -= len(body)
        if outcome.answer is Answer.REFUSED:
            self._metrics.exported(count, outcome.reason)
            say(
                f"{count} items of {self.signal} refused by {self.sender.target.origin}: {outcome.reason}",
                cause=f"refused {self.signal}",
            )
            return True
        self._metrics.exported(count - outcome.rejected)
        if outcome.rejected:
            self._metrics.exported(outcome.rejected, "rejected")
            say(
                f"{outcome.rejected} items of {self.signal} rejected by {self.sender.target.origin} (partial success)",
                cause=f"rejected {self.signal}",
            )
        self._delivering()
        return True

    def _backoff(self) -> float:
        base = min(_MAX_BACKOFF, float(2 ** min(self._failures, 10)))
        return base * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, protects nothing

    def _failed(self, reason: str, retry_at: float) -> None:
        self.retry_at = retry_at
        self._failures += 1
        if self._failures == 1:
            origin = self.sender.target.origin
            say(
                f"cannot reach {origin} ({reason}); keeping telemetry in memory and trying again",
                cause=f"down {origin}",
            )

    def _delivering(self) -> None:
        self.retry_at = 0.0
        if self._failures:
            self._failures = 0
            origin = self.sender.target.origin
            say(f"{origin} takes telemetry again", cause=f"up {origin}")
        if self._lost:
            say(f"{self._lost} items of {self.signal} were lost meanwhile", cause=f"lost {self.signal}")
            self._lost = 0

    def undelivered(self) -> int:
        """Return how many items still wait."""
        return len(self.items) + sum(count for _, count in self.held)

    def forget(self) -> None:
        """Start empty: in a forked child, whose parent delivers what waited."""
        self.items.clear()
        self.held.clear()
        self.held_bytes = 0
        self.retry_at = 0.0
        self._failures = self._lost = 0
        self.sender.forget()
