"""Reports that were made where nothing may be sent: in finalizers.

The garbage collector runs them anywhere, so also in a thread that holds a lock of the SDK; one that needed the lock again would
wait for ever. There a report is only queued, and a thread of ours sends it.
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

_MOST: Final = 1000
_LONGEST_WAIT: Final = 10.0
"""Seconds that an exception may live before it is told without knowing its end."""
_IDLE: Final = 3600.0
_PATIENCE: Final = 0.5
_GATHER: Final = 0.01

_held: deque[exception_report.Report] = deque()
_sending = threads.allocate_lock()
"""Held while a report is on its way."""
_waiting: deque[tuple[Callable[[Any], None], Any]] = deque(maxlen=_MOST)
_state: dict[str, Any] = {}


def send(report: exception_report.Report) -> None:
    """Send a report soon, from another thread. Never raises, takes no lock of the SDK."""
    run(exception_report.send, report)


def run(function: Callable[[Any], None], argument: Any) -> None:
    """Call ``function(argument)`` soon, in the thread that sends."""
    _waiting.append((function, argument))
    _wake()


def _wake() -> None:
    worker = _state.get("worker")
    if worker is None:
        worker = _state["worker"] = Worker("sending an exception", _work)
        fork.register(
            "deferred errors",
            fork.Order.DEFERRED_ERRORS,
            before=worker.stop_and_join,
            after_in_parent=_in_parent,
            after_in_child=reset_after_fork,
        )
    worker.start()
    worker.notify()


def defer(mark: ExceptionState, report: exception_report.Report) -> None:
    """Send a report when its exception ends and nobody told it before, at the end of the process, or after ten seconds."""
    mark.wait(report, send)
    _held.append(report)
    if len(_held) > _MOST:
        _sweep(0)
    if not _state.get("armed"):
        _state["armed"] = True
        _wake()


def end() -> None:
    """Send all that is held or waits, now and here: the process ends."""
    _sweep(None)
    drain()
    # What our thread has taken is on its way.
    if _sending.acquire(True, _PATIENCE):
        _sending.release()


def _sweep(before: int | None) -> None:
    try:
        while _held and (_held[0].done or before is None or len(_held) > _MOST or _held[0].timestamp < before):
            report = _held.popleft()
            if not report.done:
                report.done = True
                send(report)
    except IndexError:
        # Another thread is at it.
        return


def drain() -> None:
    """Send what waits, now and here."""
    try:
        while True:
            with _sending:
                function, argument = _waiting.popleft()
                with guard("sending an exception"):
                    function(argument)
    except IndexError:
        return


def _work() -> float:
    # Errors come in bursts: one wake-up for all of one is cheaper.
    threads.nap(_GATHER)
    drain()
    _sweep(time.time_ns() - int(_LONGEST_WAIT * 1e9))
    drain()
    _state["armed"] = bool(_held)
    return _LONGEST_WAIT if _held else _IDLE


def _in_parent() -> None:
    worker = _state["worker"]
    worker.alive = False
    _state["armed"] = bool(_held)
    if _waiting or _held:
        worker.restart()
        worker.notify()


def reset_after_fork() -> None:
    """Leave to the parent what a forked child has a copy of."""
    global _sending
    _sending = threads.allocate_lock()
    _state["armed"] = False
    _waiting.clear()
    for report in _held:
        # The exception was copied with the process, and the parent tells of it.
        report.done = True
    _held.clear()
    _state["worker"].reset_after_fork()
