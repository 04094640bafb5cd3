"""Background threads that survive forks: one function called repeatedly.

Thread and locks are the interpreter's own (:mod:`otel_distro._runtime.threads`); those of the SDK
hang at exit in programs that gevent has patched. The thread ends before a fork and starts again
after it, because Python 3.12 warns of a fork in a process that has several threads.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

_MAX_NAP_S = 3600.0
_STOP_TIMEOUT_S = 0.1

thread_context: Callable[[], AbstractContextManager[None]] = nullcontext
"""Context in which the threads run.

:mod:`otel_distro._otel.sdk` sets one that suppresses instrumentation.
"""

threads_forbidden: Callable[[], None] | None = None
"""Set while this process must have no background threads.

The function checks whether that has changed.
"""


def run_in_thread(what: str, work: Callable[[], object]) -> threads.LockType:
    """Do ``work`` in a thread of its own, or in this one where no thread can start.

    Args:
        what: Names the work in the report of a failure.
        work: The work.

    Returns:
        A lock that is released once the work is done.
    """
    done = threads.allocate_lock()
    done.acquire()

    def run() -> None:
        with guard(what), thread_context():
            work()
        done.release()

    try:
        threads.start_new_thread(run, ())
    except RuntimeError:
        run()
    return done


class Wake(Protocol):
    """The lock that a worker waits for."""

    def acquire(self, blocking: bool, timeout: float, /) -> object:
        """Wait until it is released, at most ``timeout`` seconds."""

    def release(self) -> None:
        """End the wait. May raise ``RuntimeError`` where it is released already."""


def _locked() -> Wake:
    lock = threads.allocate_lock()
    lock.acquire()
    return lock


class Worker:
    """A thread that calls ``work()`` when notified, and after the delay that it last returned.

    Args:
        what: Names the thread in the report of a failure.
        work: Returns the seconds until it is to be called again.
        wake: Creates the lock that the thread waits for and that :meth:`notify` releases.
    """

    def __init__(self, what: str, work: Callable[[], float], wake: Callable[[], Wake] = _locked) -> None:
        self._what = what
        self._new_wake = wake
        self._work = work
        self._generation = 0
        self._stopped = False
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Replace thread and locks: a forked child has no such thread, and locks may be held."""
        self._wake = self._new_wake()
        self._running = threads.allocate_lock()
        self.alive = False
        self.busy = False
        self._busy_since = 0.0
        self._leaving = False

    def start(self) -> bool:
        """Start the thread unless it runs.

        Return whether it runs. It does not where no thread can start.
        """
        if self.alive or self._stopped or threads_forbidden is not None:
            return self.alive
        self.alive = True
        try:
            threads.start_new_thread(self._run, (self._generation,))
        except RuntimeError:
            self.alive = False
        return self.alive

    def notify(self) -> None:
        """Wake the thread."""
        try:
            self._wake.release()
        except RuntimeError:
            # Notified already.
            return

    def stop(self) -> None:
        """Make the thread end after one more call of ``work()``, or after the one in progress."""
        self._stopped = True
        self.notify()

    def stop_and_join(self) -> None:
        """Make the thread end and wait for it; see :func:`stop_all`."""
        stop_all([self])

    def leave(self) -> None:
        """Make the thread end without waiting for it; ``work()`` sees :attr:`stopping`."""
        self._leaving = True
        self.stop()

    @property
    def stopping(self) -> bool:
        """Whether the thread was asked to end, so that ``work()`` should return soon."""
        return self._leaving

    def restart(self) -> None:
        """Start the thread again after a fork, in the parent.

        A thread that did not stop in time ends first.
        """
        self.alive = False
        self.start()

    def replace_thread(self) -> None:
        """Start another thread in the place of one that hangs, without waiting for that one."""
        self._generation += 1
        self._running = threads.allocate_lock()
        self.alive = self.busy = False
        self.start()
        self.notify()

    def _request_stop(self) -> None:
        self._generation += 1
        self._leaving = True
        self.notify()

    def _has_stopped(self) -> bool:
        """Wait for a thread that was asked to end, unless it has been busy for long.

        Return whether it ended.
        """
        if not self.alive:
            return False
        timeout = _STOP_TIMEOUT_S - (time.monotonic() - self._busy_since) if self.busy else _STOP_TIMEOUT_S
        if timeout > 0 and self._running.acquire(True, timeout):
            self._running.release()
            return True
        return False

    def _run(self, generation: int) -> None:
        running = self._running
        with running, thread_context():
            if generation == self._generation:
                self._leaving = False
            nap = 0.0
            while generation == self._generation:
                self._wake.acquire(True, min(max(nap, 0.0), _MAX_NAP_S))
                if generation != self._generation:
                    break
                self._busy_since = time.monotonic()
                self.busy = True
                last = self._stopped
                nap = 1.0
                with guard(self._what):
                    nap = self._work()
                if running is self._running:
                    self.busy = False
                if last:
                    break


def stop_all(workers: Sequence[Worker]) -> None:
    """Make the threads end and wait for them, before a fork; idle ones end at once.

    It does not wait for a thread that has been busy for long, for instance with a slow collector.
    """
    # Counted before: one that has ended already must not be waited for.
    running = threads.thread_count()
    for each in workers:
        each._request_stop()
    ended = sum([each._has_stopped() for each in workers])
    if ended:
        threads.await_fewer_threads(running - ended + 1)
