"""A thread of ours: one function called again and again, and what fork and the end of the process ask of it.

The thread and its locks are the interpreter's own (:mod:`otel_distro._runtime.threads`): upstream's hang at exit in programs that
gevent has patched. Before a fork it is sent home, because Python 3.12 warns whoever forks with more than one.
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

_LONGEST_NAP = 3600.0
_PATIENCE = 0.1

thread_context: Callable[[], AbstractContextManager[None]] = nullcontext
"""Context that threads of ours run in; :mod:`otel_distro._otel.sdk` sets one that suppresses instrumentation."""

threads_forbidden: Callable[[], None] | None = None
"""Set in a process that must have no threads of ours now: what looks whether that has changed."""


def run_in_thread(what: str, work: Callable[[], object]) -> threads.LockType:
    """Do ``work`` in a thread of its own, or here where none can be had; return a lock that is free once it is done."""
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
    """What a worker waits for."""

    def acquire(self, blocking: bool, timeout: float, /) -> object:
        """Wait until it is released, at most ``timeout`` seconds."""

    def release(self) -> None:
        """Let who waits go on. May raise ``RuntimeError`` where it was released already."""


def _locked() -> Wake:
    lock = threads.allocate_lock()
    lock.acquire()
    return lock


class Worker:
    """Calls ``work()`` whenever it was notified or the nap is over that the last call returned, in seconds.

    ``wake`` makes what it waits for: a lock that :meth:`notify` releases.
    """

    def __init__(self, what: str, work: Callable[[], float], wake: Callable[[], Wake] = _locked) -> None:
        self._what = what
        self._new_wake = wake
        self._work = work
        self._generation = 0
        self._stopped = False
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget the thread: in a forked child it does not exist, and its locks may be held for ever."""
        self._wake = self._new_wake()
        self._running = threads.allocate_lock()
        self.alive = False
        self.busy = False
        self._busy_since = 0.0
        self._leaving = False

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it runs. Where no threads can be had it does not."""
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
        """Let the thread end after the call of ``work()`` that it is in, or that it is woken for now."""
        self._stopped = True
        self.notify()

    def stop_and_join(self) -> None:
        """Let the thread end and wait for that: see :func:`stop_all`."""
        stop_all([self])

    def leave(self) -> None:
        """Let the thread end after the call of ``work()`` that it is in; nobody waits for it."""
        self._leaving = True
        self.stop()

    @property
    def stopping(self) -> bool:
        """Whether the thread that asks was sent home, and should come to an end of what it does."""
        return self._leaving

    def restart(self) -> None:
        """Start the thread again in the parent. One that was busy ends by itself; the new one waits for it."""
        self.alive = False
        self.start()

    def abandon(self) -> None:
        """Leave a thread that hangs to itself; another takes its place and does not wait for it."""
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
        """Wait for the end of a thread that was sent home, unless it has been busy for long; return whether one has ended."""
        if not self.alive:
            return False
        patience = _PATIENCE - (time.monotonic() - self._busy_since) if self.busy else _PATIENCE
        if patience > 0 and self._running.acquire(True, patience):
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
                self._wake.acquire(True, min(max(nap, 0.0), _LONGEST_NAP))
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
    """Let the threads end, those that nap at once, and wait for that: a fork is about to happen.

    Nobody waits for one that has been busy for long: with a slow collector.
    """
    # Before anybody is sent: who counts afterwards may wait for the end of one that is gone already.
    running = threads.thread_count()
    for each in workers:
        each._request_stop()
    ended = sum([each._has_stopped() for each in workers])
    if ended:
        threads.await_fewer_threads(running - ended + 1)
