"""What has ended of one signal and is not bytes yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from otel_distro._runtime import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otel_distro._runtime.gil import GilYield
    from otel_distro.export.encode.request import Encoded
    from otel_distro.export.self_metrics import ExporterMetrics
    from otel_distro.export.spool.spool import Spool


PRE_ENCODE_EVERY = 2
"""Of so many items that a thread puts it makes bytes of as many, now: what the writer has to do at once stays small."""


class SignalQueue:
    """The queue of one signal. Any thread puts; whoever holds its lock makes bytes of it.

    ``prepare``: makes bytes of some items in their places, ahead of the others, where ``encode`` takes these.
    """

    def __init__(
        self,
        signal: str,
        encode: Callable[[Any], Encoded],
        spool: Spool,
        metrics: ExporterMetrics,
        *,
        capacity: int = 2048,
        batch: int = 512,
        prepare: Callable[[deque[Any], int, int], int] | None = None,
    ) -> None:
        self.signal = signal
        self.capacity = capacity
        self.batch = min(batch, capacity)
        self.items: deque[Any] = deque()
        self.since = 0.0
        """When the oldest waiting item was queued, as ``time.monotonic()``."""
        self.new = True
        """Whether nothing was written yet."""
        self.lock = threads.allocate_lock()
        self.prepares = prepare is not None
        """Whether :meth:`prepare` does anything."""
        self._encode = encode
        self._prepare = prepare
        self._prepared = 0
        self._spool = spool
        self.report_to(metrics)

    def report_to(self, metrics: ExporterMetrics) -> None:
        """Report to other counters from here on, and the length of the queue at every collection."""
        self._metrics = metrics
        metrics.watch_queue(lambda: len(self.items))

    def put(self, item: Any) -> int:
        """Queue an item and return how many wait now."""
        self.items.append(item)
        return len(self.items)

    def prepare(self) -> None:
        """Make bytes of a few items that wait, unless somebody is at it already or has to be waited for.

        Not of the last one: a processor of the application that comes after ours may be about to change it.
        """
        if self._prepare is not None and self.lock.acquire(False):
            try:
                first = self._prepared
                self._prepared = self._prepare(
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
            # Somebody else emptied it meanwhile.
            pass
        self._metrics.dropped(dropped, "queue_full")

    def spool_batch(self, pauses: GilYield | None = None) -> bool:
        """Make one body of at most a batch of waiting items and spool it; return whether any waited.

        ``pauses``: those in which other threads have the interpreter. They would wait some 15 us for each item.
        """
        batch: list[Any] = []
        self._prepared = max(0, self._prepared - self.batch)
        try:
            while len(batch) < self.batch:
                batch.append(self.items.popleft())
        except IndexError:
            if not batch:
                return False
        try:
            self.spool(batch if pauses is None else _with(pauses, batch))
        except Exception:
            # Neither raises; should one of them all the same, trying the same items again would never end.
            self._metrics.dropped(len(batch), "unencodable")
            raise
        except BaseException:
            # The application is being interrupted in the thread that helped: what it helped with goes back.
            self.items.extendleft(reversed(batch))
            raise
        return True

    def spool(self, items: Any) -> None:
        """Encode ``items`` (a list, or all metrics of a collection) and spool the body."""
        encoded = self._encode(items)
        for reason, lost in encoded.dropped.items():
            self._metrics.dropped(lost, reason)
        self._metrics.processed(encoded.count)
        if encoded.body:
            self._spool.append(self.signal, encoded.body, encoded.count)

    def forget(self) -> None:
        """Start empty: in a forked child, whose parent delivers what waited."""
        self.items.clear()
        self._prepared = 0
        self.new = True
        self.lock = threads.allocate_lock()


def _with(pauses: GilYield, items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        yield item
        pauses.pause()
