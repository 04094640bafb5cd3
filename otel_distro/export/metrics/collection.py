"""Collects the metrics: all of them every few seconds, and in between those that nobody else could tell after a kill."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_distro._otel.metrics import Flag
from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import guard, say
from otel_distro._runtime.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    from otel_distro._otel.metrics import MetricSource
    from otel_distro._runtime.threads import LockType
    from otel_distro.export.encode.request import Encoded
    from otel_distro.export.metrics.checkpoint import CounterCheckpoint

PATIENCE = 2.0
"""Seconds that a callback of the application may take before the collection goes on without it."""

_FIRST_DELAY = 0.0005
_SHORTEST_PAUSE = 0.005
_SHARE = 0.02
"""The share of a core that snapshots may cost where something is counted all the time."""

_SAVED = 0.04
"""Seconds of work on snapshots that a busy time may begin with: a program that lives for a moment has the latest."""

_LEAST = 0.0008
"""Seconds that a snapshot is reckoned to cost at least, so that there are 25 of them a second and no more."""


class Collection:
    """Collects for one reader, in whatever thread calls; one at a time.

    ``settle``: spools all metrics of a collection. ``encode``: makes bytes of a part of them for ``last``.
    """

    def __init__(
        self,
        source: MetricSource,
        settle: Callable[[MetricsData], None],
        encode: Callable[[MetricsData, Callable[[], object]], Encoded],
        last: CounterCheckpoint,
    ) -> None:
        self._source = source
        self._settle = settle
        self._encode = encode
        self._last = last
        self._cost = 0.0
        self._gently = False
        self._recorded = Flag()
        self.renew()

    def renew(self) -> None:
        """Start without a past: in a forked child, where nobody hangs any more."""
        self._turn = 0
        self._asking: tuple[str, Any, float] | None = None
        self._hanging: dict[int, Any] = {}
        self._recorded.up = False
        self._due = float("inf")
        self._allowance = TokenBucket(_SHARE, _SAVED)
        self._last.forget()

    def look_after(self, lock: LockType, replace: Callable[[], None]) -> float:
        """Keep what was counted, and leave out a callback that hangs; return in how many seconds to look again.

        ``lock`` is held for the first, ``replace()`` is called for a thread that is lost.
        """
        if self.due_in(time.monotonic()) <= 0:
            self.snapshot(lock)
        if self.give_up(PATIENCE):
            replace()
        now = time.monotonic()
        asking = self._asking
        return min(self.due_in(now), asking[2] + PATIENCE - now if asking is not None else float("inf"))

    # All of them

    def run(self, lock: LockType) -> bool:
        """Ask all callbacks and spool everything; return False if this thread was given up meanwhile.

        ``lock`` is held while those of the SDK are taken, and never while the application is asked.
        """
        turn = self._turn
        observed: list[Any] = []
        for instrument, callback in self._source.callbacks():
            if id(callback) in self._hanging:
                continue
            self._asking = (instrument.name, callback, time.monotonic())
            try:
                observed.extend(self._source.observe(instrument, callback))
            except (Exception, SystemExit) as error:
                name = type(error).__name__
                say(
                    f"a callback of the metric {instrument.name} failed: {name}: {error}",
                    cause=f"asks {instrument.name}",
                )
            if turn != self._turn:
                # It may be asked again now that it has come back.
                self._hanging.pop(id(callback), None)
                return False
        self._asking = None
        with lock:
            if turn != self._turn:
                return False
            self._spool(observed)
        return True

    def run_alone(self, lock: LockType, patience: float) -> None:
        """Spool what is recorded without asking any callback; it waits at most ``patience`` seconds for the lock."""
        if lock.acquire(True, patience):
            try:
                self._turn += 1
                self._spool([])
            finally:
                lock.release()

    def _spool(self, observed: list[Any]) -> None:
        self._source.record_observed(observed)
        found = self._source.collect()
        if found is not None:
            self._settle(found)
        self._last.drop()

    def give_up(self, patience: float) -> bool:
        """Leave a callback out that has been asked for longer than ``patience`` seconds, until it comes back.

        Return whether there is one: then the thread that waits for it is lost, and another is to run the collection.
        """
        asking = self._asking
        if asking is None or time.monotonic() - asking[2] < patience:
            return False
        name, callback, since = asking
        self._asking = None
        self._hanging[id(callback)] = callback
        self._turn += 1
        waited = time.monotonic() - since
        say(f"a callback of the metric {name} does not return after {waited:.1f} s: left out", cause=f"hangs {name}")
        return True

    # What would be lost by a kill

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake()`` when something was recorded and nothing was since the last :meth:`snapshot`."""
        if self._last.possible:
            self._source.watch(self._recorded, wake)

    def due_in(self, now: float) -> float:
        """Return in how many seconds a snapshot is due, infinite where nothing was recorded."""
        if not self._recorded.up:
            return float("inf")
        if self._due == float("inf"):
            wait = self._allowance.wait(now)
            # Those that a busy time begins with are for a program that may be gone in a moment.
            self._gently = wait > _FIRST_DELAY
            self._due = now + max(_FIRST_DELAY, wait)
        return self._due - now

    def prepare(self) -> None:
        """Open the file for the first :meth:`snapshot`, in a thread that does not have to wait for the interpreter."""
        self._last.prepare()

    def snapshot(self, lock: LockType) -> None:
        """Keep what was recorded since the last collection where it survives a kill, unless one is being spooled."""
        self._due = float("inf")
        if not self._last.wanted:
            # The flag stays up: nobody has to be woken any more.
            self._due = time.monotonic() + 1.0
            return
        if not lock.acquire(False):
            self._due = time.monotonic() + _SHORTEST_PAUSE
            return
        try:
            start = time.thread_time()
            self._recorded.up = False
            with guard("keeping what was counted"):
                # It would keep the interpreter for half a millisecond.
                pauses = threads.GilYield(wanted=self._gently)
                pauses.take(due=True)
                found = self._source.recent(pauses.take)
                pauses.take()
                encoded = self._encode(found, pauses.take) if found is not None else None
                pauses.take()
                if encoded is not None:
                    self._last.keep(encoded.body, encoded.count)
            # The first one pays for what it imports; the others do not wait for that.
            self._cost = min(time.thread_time() - start, 2 * self._cost + 0.001)
        finally:
            lock.release()
        self._allowance.spend(max(self._cost, _LEAST))
