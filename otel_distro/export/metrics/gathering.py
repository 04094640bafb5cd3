"""The thread that collects metrics: when it does, who waits for it, and what becomes of it when a callback hangs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_distro._otel import sdk
from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.export.metrics.collection import Collection

_LAST_PATIENCE = 0.2
_NEVER = float("inf")


class Gathering:
    """Collects every ``interval`` seconds, when somebody waits for it, and a last time; without a ``collection`` it only passes on.

    ``began``: called before a collection, during which :meth:`look_after` is to be called now and then. ``ended``: called
    after one, when its body is spooled. ``pass_on``: called with those who waited for it, as locks to be released.
    """

    def __init__(
        self,
        collection: Collection | None,
        interval: float,
        began: Callable[[], None],
        ended: Callable[[], None],
        pass_on: Callable[[list[Any]], None],
    ) -> None:
        self._collection = collection
        self._interval = interval
        self._began = began
        self._ended = ended
        self._pass_on = pass_on
        self._watching = False
        self.worker = Worker("the thread that collects metrics", self.run)
        self._renew()

    def _renew(self) -> None:
        self.lock = threads.allocate_lock()
        """Held while locks of the SDK are taken."""
        self._new = True
        self._under_way = False
        self._waiters: list[Any] = []
        self._next = time.monotonic() + self._interval

    def renew(self) -> None:
        """Start without a past: in a forked child."""
        self._renew()
        if self._collection is not None:
            self._collection.renew()
        self.worker.reset_after_fork()

    def start(self) -> bool:
        """Start the thread unless it runs, and look at what is counted; return whether it runs."""
        if self._collection is not None and not self._watching:
            self._watching = True
            with guard("watching what is counted"):
                self._collection.watch(self._recorded)
        return self.worker.start()

    def _recorded(self) -> None:
        """Let what was recorded be kept soon. Called by the thread that recorded it."""
        collection = self._collection
        if collection is not None and self._new and self.lock.acquire(False):
            self._new = False
            try:
                with guard("opening a file for what is counted"), sdk.suppressed():
                    collection.prepare()
            finally:
                self.lock.release()
        self._began()

    def wait_for(self, done: Any) -> None:
        """Collect soon, and pass ``done`` on then."""
        self._waiters.append(done)
        self.worker.notify()

    def run(self) -> float:
        """Collect if it is time or somebody waits; return in how many seconds to do so again."""
        waiters = list(self._waiters)
        if self._under_way or waiters or time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            self._under_way = True
            self._began()
            if not self.collect():
                return 0.0
            self._under_way = False
            self._ended()
        for done in waiters:
            self._waiters.remove(done)
        self._pass_on(waiters)
        return self._next - time.monotonic()

    def collect(self) -> bool:
        """Collect and spool; return False if this thread was given up meanwhile, and another does it."""
        with guard("collecting metrics"):
            return self._collection is None or self._collection.run(self.lock)
        return True

    def run_last(self, deadline: float) -> None:
        """Collect a last time before ``deadline``, as ``time.monotonic()``, in the thread: a callback may hang there."""
        done = threads.allocate_lock()
        done.acquire()
        self._waiters.append(done)
        if not self.worker.alive:
            self.run()
            return
        self.worker.notify()
        end = time.monotonic() + max(0.0, deadline - time.monotonic()) / 2
        while not done.acquire(True, max(0.0, min(_LAST_PATIENCE, end - time.monotonic()))):
            if time.monotonic() >= end:
                if self._collection is not None:
                    self._collection.run_alone(self.lock, _LAST_PATIENCE)
                return
            if self._collection is not None and self._collection.give_up(_LAST_PATIENCE):
                self.worker.replace_thread()

    # What the writer calls

    def note(self, now: float) -> None:
        """Let what was counted wait from now on, not from the end of other work."""
        if self._collection is not None:
            self._collection.due_in(now)

    def look_after(self) -> float:
        """Keep what was counted and leave out a callback that hangs; return in how many seconds to look again."""
        if self._collection is None:
            return _NEVER
        return self._collection.look_after(self.lock, self.worker.replace_thread)
