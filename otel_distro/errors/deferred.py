"""Reports that wait: for the sending thread, or for the end of their exception.

A finalizer may run in any thread, at any allocation, also in a thread that holds a lock of the SDK;
taking that lock again would deadlock. Code called from finalizers therefore only enqueues, and a
background thread sends.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from otel_distro._runtime import fork, threads
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.worker import Worker
from otel_distro.errors import exception_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.errors.exception_state import ExceptionState

_MAX_QUEUED: Final = 1000
_MAX_WAIT_S: Final = 10.0
"""How long a report waits for the end of its exception; then it is sent without knowing the end."""
_IDLE_S: Final = 3600.0
_SEND_TIMEOUT_S: Final = 0.5
"""How long :func:`flush` waits for a report that the background thread is sending."""
_BURST_S: Final = 0.01
"""Pause before sending: errors come in bursts, and one wake-up for all of a burst is cheaper."""

_deferred: deque[exception_report.Report] = deque()
"""Reports that wait for the end of their exception, oldest first."""
_sending = threads.allocate_lock()
"""Held while a report is being sent."""
_queue: deque[tuple[Callable[[Any], None], Any]] = deque(maxlen=_MAX_QUEUED)
"""Calls for the background thread."""


class _State:
    """The background thread. ``armed``: it wakes by itself to send deferred reports."""

    __slots__ = ("armed", "worker")

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.armed = False


_state = _State()


def send(report: exception_report.Report) -> None:
    """Enqueue a report for the background thread. Never raises; takes no lock of the SDK."""
    submit(exception_report.send_later, report)


def submit(function: Callable[[Any], None], argument: Any) -> None:
    """Let the background thread call ``function(argument)``."""
    _queue.append((function, argument))
    worker = _state.worker
    # Behind others in the queue: who put the first of them has woken the thread.
    if len(_queue) == 1 or worker is None or not worker.alive:
        _wake()


def _wake() -> None:
    worker = _state.worker
    if worker is None:
        worker = _state.worker = Worker("sending an exception", _work)
        fork.register(
            "deferred errors",
            fork.Order.DEFERRED_ERRORS,
            before=worker.stop_and_join,
            after_in_parent=_in_parent,
            after_in_child=reset_after_fork,
        )
    worker.start()
    worker.notify()


def defer(state: ExceptionState, report: exception_report.Report) -> None:
    """Send a report when its exception is freed, unless something reports the exception before.

    At the latest it is sent after ten seconds, or when the process ends.
    """
    state.defer(report, send)
    _deferred.append(report)
    if len(_deferred) > _MAX_QUEUED:
        _send_deferred(0)
    if not _state.armed:
        _state.armed = True
        _wake()


def flush() -> None:
    """Send all deferred and queued reports in the calling thread: the process ends."""
    _send_deferred(None)
    drain()
    # The background thread may have taken a report off the queue: wait until it is sent.
    if _sending.acquire(True, _SEND_TIMEOUT_S):
        _sending.release()


def _send_deferred(before_ns: int | None) -> None:
    """Enqueue deferred reports older than ``before_ns`` (all: None) or beyond the limit."""
    try:
        while _deferred and (
            _deferred[0].done or before_ns is None or len(_deferred) > _MAX_QUEUED or _deferred[0].timestamp < before_ns
        ):
            report = _deferred.popleft()
            if not report.done:
                report.done = True
                send(report)
    except IndexError:
        # Another thread has emptied the deque.
        return


def drain() -> None:
    """Send what is queued, in the calling thread."""
    try:
        while True:
            with _sending:
                function, argument = _queue.popleft()
                with guard("sending an exception"):
                    function(argument)
                if not _queue:
                    with guard("counting exceptions"):
                        exception_report.add_counts()
    except IndexError:
        return


def _work() -> float:
    threads.nap(_BURST_S)
    drain()
    _send_deferred(time.time_ns() - int(_MAX_WAIT_S * 1e9))
    drain()
    _state.armed = bool(_deferred)
    return _MAX_WAIT_S if _deferred else _IDLE_S


def _in_parent() -> None:
    worker = _state.worker
    if worker is None:
        return
    worker.alive = False
    _state.armed = bool(_deferred)
    if _queue or _deferred:
        worker.restart()
        worker.notify()


def reset_after_fork() -> None:
    """Empty the queues in a forked child: the parent reports the exceptions that were copied."""
    global _sending
    _sending = threads.allocate_lock()
    _state.armed = False
    _queue.clear()
    for report in _deferred:
        report.done = True
    _deferred.clear()
    if _state.worker is not None:
        _state.worker.reset_after_fork()
