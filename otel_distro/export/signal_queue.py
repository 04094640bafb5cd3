"""The queue between the threads that end items of one signal and the writer that encodes them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from otel_distro._runtime import threads
from otel_distro._runtime.lock_holders import holds_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otel_distro._runtime.gil import GilYield
    from otel_distro.export.encode.request import Encoded


PRE_ENCODE_EVERY = 2
"""Every N-th put, the producing thread pre-encodes N items: less work for the writer."""


_PAUSE_EVERY = 4


class Sink(Protocol):
    """Where a queue's encoded batches go: the spool, or a file."""

    def append(self, signal: str, body: bytes, count: int) -> None:
        """Store a body of ``count`` items. Never raises."""

    def close(self) -> None:
        """Release the files."""


class QueueMetrics(Protocol):
    """Counters that a queue reports to."""

    def watch_queue(self, size: Callable[[], int]) -> None:
        """Report ``size()`` as the length of the queue at every collection."""

    def processed(self, count: int) -> None:
        """Count items that were encoded."""

    def dropped(self, count: int, error_type: str) -> None:
        """Count items that were dropped."""


class SignalQueue:
    """The queue of one signal. Any thread puts; the thread that holds the lock encodes batches.

    Args:
        signal: The name of the signal.
        encode: Encodes a batch.
        sink: Where the encoded batches go.
        metrics: What the queue reports to.
        capacity: Items that may wait.
        batch: Items of a batch.
        pre_encode: Replaces the items from one index to before another by encoded ones, which
            ``encode`` takes as they are; returns the index of the first item it left.
    """

    def __init__(
        self,
        signal: str,
        encode: Callable[[Any], Encoded],
        sink: Sink,
        metrics: QueueMetrics,
        *,
        capacity: int = 2048,
        batch: int = 512,
        pre_encode: Callable[[deque[Any], int, int], int] | None = None,
    ) -> None:
        self.signal = signal
        self.capacity = capacity
        self.batch = min(batch, capacity)
        self.items: deque[Any] = deque()
        self.oldest_at = 0.0
        """When the oldest waiting item was queued, as ``time.monotonic()``."""
        self.unwritten = True
        """Whether nothing was written yet."""
        self.lock = threads.allocate_lock()
        self.pre_encodes = pre_encode is not None
        """Whether :meth:`pre_encode` does anything."""
        self._encode = encode
        self._pre_encode = pre_encode
        self._pre_encoded = 0
        self._sink = sink
        self.report_to(metrics)

    def report_to(self, metrics: QueueMetrics) -> None:
        """Report to other counters from now on, and the length of the queue at every collection."""
        self._metrics = metrics
        metrics.watch_queue(lambda: len(self.items))

    def put(self, item: Any) -> int:
        """Queue an item and return how many wait now."""
        self.items.append(item)
        return len(self.items)

    @holds_lock
    def pre_encode(self) -> None:
        """Encode a few waiting items in their places, unless another thread holds the lock.

        The newest item is left: a processor of the application that runs later may still change it.
        """
        if self._pre_encode is not None and self.lock.acquire(False):
            try:
                first = self._pre_encoded
                self._pre_encoded = self._pre_encode(
                    self.items, first, min(len(self.items) - 1, first + 2 * PRE_ENCODE_EVERY)
                )
            finally:
                self.lock.release()

    def drop_beyond_capacity(self) -> None:
        """Drop the oldest items beyond the capacity, counted as ``queue_full``."""
        dropped = 0
        try:
            while len(self.items) > self.capacity:
                self.items.popleft()
                dropped += 1
        except IndexError:
            # Another thread emptied the queue meanwhile.
            pass
        self._metrics.dropped(dropped, "queue_full")

    def spool_batch(self, pauses: GilYield | None = None) -> bool:
        """Encode at most a batch of waiting items and append the body to the sink.

        Args:
            pauses: Taken between the items, so that other threads get the GIL. Without them those
                would wait some 15 us for each item.

        Returns:
            Whether any item waited.
        """
        batch: list[Any] = []
        self._pre_encoded = max(0, self._pre_encoded - self.batch)
        try:
            while len(batch) < self.batch:
                batch.append(self.items.popleft())
        except IndexError:
            if not batch:
                return False
        try:
            self.spool(batch if pauses is None else _with_pauses(batch, pauses))
        except Exception:
            # A bug, for neither encoder nor sink raises: the same items would fail at each attempt.
            self._metrics.dropped(len(batch), "unencodable")
            raise
        except BaseException:
            # A signal handler raised in the application's thread: the items stay queued.
            self.items.extendleft(reversed(batch))
            raise
        return True

    def spool(self, items: Any) -> None:
        """Encode ``items`` (a list, or the metrics of a collection) and append the body."""
        encoded = self._encode(items)
        for reason, lost in encoded.dropped.items():
            self._metrics.dropped(lost, reason)
        self._metrics.processed(encoded.count)
        if encoded.body:
            self._sink.append(self.signal, encoded.body, encoded.count)

    def reset_after_fork(self) -> None:
        """Start empty: the parent delivers what waited."""
        self.items.clear()
        self._pre_encoded = 0
        self.unwritten = True
        self.lock = threads.allocate_lock()


def _with_pauses(items: Iterable[Any], pauses: GilYield) -> Iterator[Any]:
    for number, item in enumerate(items, 1):
        yield item
        # The clock costs a tenth of what an item does.
        if not number % _PAUSE_EVERY:
            pauses.pause()
