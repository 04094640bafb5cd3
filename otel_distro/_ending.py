"""The end of a process in which telemetry has started, or is being started by another thread.

Imported at the end only, so that the start of a process is short.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from otel_distro import settings
from otel_distro._runtime import lock_holders, signals, threads
from otel_distro._startup import early_calls

if TYPE_CHECKING:
    from types import FrameType
    from typing import Protocol

    class State(Protocol):
        """How far telemetry has come in this process; see :mod:`otel_distro._boot`."""

        activating: int
        active: bool
        finishing: bool
        interrupted_by: int
        killed_by: int
        lock: threads.LockType
        stepped_aside: bool


_START_TIMEOUT_S: Final = 10.0
"""How long the end of the process waits for a start that has something to deliver."""


_WRITE_TIME_S: Final = 0.5
"""The part of a timeout that the wait leaves: enough to write to the spool."""


def at_exit(state: State) -> None:
    """Deliver what is queued, in bounded time."""
    _finish(state, _await_start(state))


def before_abrupt_exit(state: State) -> None:
    """Deliver what came while telemetry starts: another thread calls ``os._exit`` or the like."""
    if state.lock.locked() and state.activating != threads.get_ident():
        at_exit(state)


def on_fatal_signal(state: State, number: int, frame: FrameType | None) -> None:
    """Handle a signal with the default disposition; ``frame`` is what it has interrupted.

    It is postponed where the main thread holds a lock that the last delivery needs.
    """
    if state.active and signals.is_pending(number) and lock_holders.postpone(number, frame):
        return
    if signals.restore_default(number):
        end_by_signal(state, number)


def end_by_signal(state: State, number: int) -> None:
    """Deliver what is queued, then let the signal end the process.

    Its disposition is the default one again. Where its handler interrupts the start of telemetry,
    the start is completed first, and this function is called once more.
    """
    if state.activating == threads.get_ident():
        state.interrupted_by = number
        threads.start_new_thread(_end_later, (number,))
        return
    state.killed_by = number
    if state.finishing:
        return
    spent = _await_start(state)
    if state.active and not state.stepped_aside:
        _finish(state, spent)
    else:
        os.kill(os.getpid(), number)


def _end_later(number: int) -> None:
    threads.nap(_START_TIMEOUT_S)
    os.kill(os.getpid(), number)


def _await_start(state: State) -> float:
    """Wait for telemetry that another thread starts, so that it delivers what came meanwhile.

    The exit timeout limits the wait. Its default is extended where log records or errors wait: had
    one of them started telemetry itself, its thread would have waited as long.

    Returns:
        Seconds by which the last delivery must be shorter: of a timeout that the user chose.
    """
    if not state.lock.locked() or state.activating == threads.get_ident():
        return 0.0
    began_at = time.monotonic()
    timeout = settings.OTEL_DISTRO_EXIT_TIMEOUT
    longest = timeout.get()
    if early_calls.waiting() and not timeout.is_set():
        longest = max(longest, _START_TIMEOUT_S)
    early_calls.wait_for(state, began_at + longest)
    if not state.active:
        early_calls.report_lost()
    return max(0.0, min(time.monotonic() - began_at, longest - _WRITE_TIME_S)) if timeout.is_set() else 0.0


def _finish(state: State, spent: float) -> None:
    """Deliver; a signal that comes meanwhile ends the process after it."""
    if not state.active or state.stepped_aside:
        return
    from otel_distro import _activation

    state.finishing = True
    try:
        _activation.finish(spent)
    finally:
        state.finishing = False
        if state.killed_by:
            os.kill(os.getpid(), state.killed_by)
