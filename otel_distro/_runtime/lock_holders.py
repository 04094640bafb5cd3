"""Functions that hold a lock which the last delivery of telemetry needs.

The handler of a signal that ends the process runs in the main thread, in the middle of whatever
that thread does. If it delivered in the middle of such a function, the thread that writes would
wait for a lock that is released only after the handler. So the handler is postponed: it returns,
and the signal is sent again when the main thread leaves the function.

Nothing is done when such a function is called: the handler looks at the stack.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_distro._runtime import signals, threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    Function = TypeVar("Function", bound=Callable[..., Any])

_LONGEST_S: Final = 1.0
"""How long the handler is postponed at most: the function may be waiting itself."""

_codes: set[CodeType] = set()
_conditions: dict[str, Callable[[], bool]] = {}
_postponed: list[int] = []
"""Signals for :func:`resume`."""
_since: dict[int, float] = {}
"""When the handler of a signal was first postponed, by its number."""


def holds_lock(function: Function) -> Function:
    """Decorate a function in which no handler of a fatal signal may deliver."""
    _codes.add(function.__code__)
    return function


def register(name: str, condition: Callable[[], bool]) -> None:
    """Postpone handlers also while ``condition()`` is true in the main thread.

    :func:`resume` ends that. No thread does, because Python 3.12 warns of one during a fork.

    Args:
        name: A condition of the same name is replaced.
        condition: Returns whether this thread holds a lock, without taking one.
    """
    _conditions[name] = condition


def postpone(number: int, frame: FrameType | None) -> bool:
    """Have the signal sent again if the main thread is inside of such a function.

    Args:
        number: The signal.
        frame: What its handler has interrupted.

    Returns:
        Whether the handler shall return. False after a second, and where no thread can start.
    """
    if any(condition() for condition in _conditions.copy().values()):
        _postponed.append(number)
        return True
    outermost = _outermost(frame)
    if outermost is None:
        _since.pop(number, None)
        return False
    now = time.monotonic()
    waited = now - _since.setdefault(number, now)
    if waited > _LONGEST_S:
        _since.pop(number, None)
        return False
    main = threads.get_ident()
    # A function that returns sends the signal itself; the thread is for one that waits.
    try:
        threads.start_new_thread(_send_again, (number, main))
    except RuntimeError:
        return False
    _send_on_return(number, main, outermost)
    return True


def resume() -> None:
    """Send again what was postponed by a condition that is no longer true."""
    while _postponed:
        signals.interrupt_main_thread(_postponed.pop(), threads.get_ident())


def reset_after_fork() -> None:
    """Forget the signals of the parent."""
    _postponed.clear()
    _since.clear()


def _outermost(frame: FrameType | None) -> FrameType | None:
    found = None
    while frame is not None:
        if frame.f_code in _codes:
            found = frame
        frame = frame.f_back
    return found


def _send_on_return(number: int, main: int, frame: FrameType) -> None:
    """Send the signal again when ``frame`` returns.

    This replaces a profiler of the application, whose process ends.
    """

    def on_return(current: FrameType, event: str, _: object) -> None:
        if event == "return" and current is frame:
            sys.setprofile(None)
            # The frame is still on the stack, but its locks are free: do not postpone again.
            _since[number] = float("-inf")
            signals.interrupt_main_thread(number, main)

    sys.setprofile(on_return)


def _send_again(number: int, main: int) -> None:
    threads.nap(_LONGEST_S)
    signals.interrupt_main_thread(number, main)
