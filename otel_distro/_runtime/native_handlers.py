"""Which signal handlers are the interpreter's own, and which were installed in C after them.

:mod:`signal` does not see the handlers that C code installs: it names the Python function that the
interpreter would call, as ``default_int_handler`` under uWSGI, whose workers stop at SIGINT by a
handler of uWSGI. Replacing such a function and setting it again would remove the handler in C.

Imported when telemetry starts in the main thread. :mod:`ctypes` is imported by the SDK anyway.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection


def without_native(numbers: Collection[int]) -> list[int]:
    """Return the signals whose handler in C is the interpreter's. Main thread only.

    Args:
        numbers: Signals that have a Python function for a handler.

    Raises:
        ValueError: This is not the main thread.
    """
    try:
        import ctypes
    except (ImportError, MemoryError, OSError):
        # The interpreter was built without it, or a policy of the system forbids what it does.
        return list(numbers)
    handler_in_c: Any = ctypes.pythonapi.PyOS_getsig
    handler_in_c.argtypes, handler_in_c.restype = (ctypes.c_int,), ctypes.c_void_p
    of_interpreter = _of_interpreter(handler_in_c)
    if of_interpreter is None:
        return list(numbers)
    return [number for number in numbers if handler_in_c(number) == of_interpreter]


def _of_interpreter(handler_in_c: Any) -> int | None:
    """Return the address of the interpreter's handler, seen at a signal that has none otherwise."""
    for number in sorted(_signal.valid_signals(), reverse=True):
        if _signal.getsignal(number) == _signal.SIG_DFL and not handler_in_c(number):
            _signal.signal(number, _ignore)
            try:
                address: int | None = handler_in_c(number)
                return address
            finally:
                _signal.signal(number, _signal.SIG_DFL)
    return None


def _ignore(_: int, __: object) -> None:
    """Stand for a handler."""
