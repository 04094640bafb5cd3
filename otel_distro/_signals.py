"""Signals that end a process which has no handler for them: what waits is delivered before they take their course.

To the application nothing is there: it sees the default handler, and setting it again, as servers do in their workers and
asyncio does when it takes its own away, brings ours back.

Imported at the start of every instrumented process, and :mod:`signal` itself is slow to import.
"""

import _signal  # type: ignore[import-not-found]

from otel_distro import _hooks
from otel_distro._guard import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")


def handle(die: "Callable[[int, Any], None]") -> None:
    """Call ``die(number, frame)`` when one of the signals comes and the disposition is the default.

    Only the main thread may do this; in another one, and in a sub-interpreter, nothing happens.
    """
    numbers = {getattr(_signal, name) for name in _NAMES if hasattr(_signal, name)}
    for number in numbers:
        if _signal.getsignal(number) == _signal.SIG_DFL:
            try:
                _signal.signal(number, die)
            except ValueError:
                return
    _hooks.when_imported("signal", lambda module: _stay(module, numbers, die))


def let_go(number: int) -> None:
    """Set the default disposition itself."""
    _signal.signal(number, _signal.SIG_DFL)


def _stay(module: "ModuleType", numbers: "set[int]", die: "Callable[[int, Any], None]") -> None:
    """Stand in for the default handler wherever the application asks for it or sets it."""
    with guard("following signal handlers"):
        import functools

        signal: Any = module
        set_handler, get_handler = signal.signal, signal.getsignal

        @functools.wraps(set_handler)
        def set_or_ours(number: "Any", handler: "Any") -> "Any":
            ours = handler == _signal.SIG_DFL and number in numbers
            before = set_handler(number, die if ours else handler)
            return signal.SIG_DFL if before is die else before

        @functools.wraps(get_handler)
        def get_or_default(number: "Any") -> "Any":
            handler = get_handler(number)
            return signal.SIG_DFL if handler is die else handler

        signal.signal, signal.getsignal = set_or_ours, get_or_default
