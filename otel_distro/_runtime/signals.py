"""Signals that end a process which has no handler for them: what waits is delivered before they take their course.

To the application nothing is there: it sees the default handler, and setting it again, as servers do in their workers and
asyncio does when it takes its own away, brings ours back.

Imported at the start of every instrumented process, and :mod:`signal` itself is slow to import.
"""

import _signal  # type: ignore[import-not-found]

from otel_distro._runtime import import_hooks, signal_wakeup
from otel_distro._runtime.diagnostics import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")


_ours: "dict[int, Callable[[int, Any], None]]" = {}
"""By number, the handler that stands for the default one; none where it has begun, nor where the application has one."""


def handle(die: "Callable[[int, Any], None]") -> None:
    """Call ``die(number, frame)`` when one of the signals comes and the disposition is the default.

    Only the main thread may do this; in another one, and in a sub-interpreter, nothing happens.
    """
    numbers = {getattr(_signal, name) for name in _NAMES if hasattr(_signal, name)}
    for number in numbers:
        if _signal.getsignal(number) == _signal.SIG_DFL:
            _ours[number] = die
            try:
                _signal.signal(number, die)
            except ValueError:
                _ours.clear()
                return
    import_hooks.when_imported("signal", lambda module: _stay(module, numbers, die))
    signal_wakeup.open_pair()


def interrupt_main_thread(number: int) -> None:
    """Send a signal to the main thread itself, unless its handler is the application's or has begun."""
    # No other thread comes between these two: there the handler could begin, and what is sent would find none.
    if number in _ours:
        _signal.pthread_kill(signal_wakeup.main[0], number)


def is_unheard(number: int) -> bool:
    """Whether the handler of a signal is ours and has not begun."""
    return number in _ours


def let_go(number: int) -> bool:
    """Set the default disposition itself; return False where the handler has begun already. It calls this first of all."""
    if _ours.pop(number, None) is None:
        return False
    if hasattr(_signal, "pthread_sigmask"):
        # What is on its way from tell_main_thread() comes now, while there is a handler for it.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    _signal.signal(number, _signal.SIG_DFL)
    return True


def _stay(module: "ModuleType", numbers: "set[int]", die: "Callable[[int, Any], None]") -> None:
    """Stand in for the default handler wherever the application asks for it or sets it."""
    with guard("following signal handlers"):
        import functools

        signal: Any = module
        set_handler, get_handler = signal.signal, signal.getsignal

        @functools.wraps(set_handler)
        def set_or_ours(number: "Any", handler: "Any") -> "Any":
            ours = handler == _signal.SIG_DFL and number in numbers
            known = dict(_ours)
            if ours:
                _ours[number] = die
            try:
                before = set_handler(number, die if ours else handler)
            except BaseException:
                _ours.clear()
                _ours.update(known)
                raise
            if not ours:
                _ours.pop(int(number), None)
            return signal.SIG_DFL if before is die else before

        @functools.wraps(get_handler)
        def get_or_default(number: "Any") -> "Any":
            handler = get_handler(number)
            return signal.SIG_DFL if handler is die else handler

        signal.signal, signal.getsignal = set_or_ours, get_or_default
