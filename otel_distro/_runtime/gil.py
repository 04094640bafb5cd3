"""Ways to share the interpreter lock (GIL) with the threads of the application."""

from __future__ import annotations

import sys
import time
from typing import Final

from otel_distro._runtime.threads import nap

_SWITCH_INTERVAL_S: Final = 0.0005
_PIECE_S: Final = 0.00015
_PAUSE_S: Final = 0.0005
_LONG_PAUSE_S: Final = 0.002
_NEVER: Final = float("inf")


class GilYield:
    """Short pauses in long work, in which other threads get the interpreter lock.

    A thread that waits for the lock is mostly answering a request. A pause is about as long as such
    an answer takes, so each of these threads waits for at most one piece of work. The pauses
    end once one of them took much longer: then another thread computes, and the interpreter shares
    the time itself.
    """

    suspended = 0
    """Number of :class:`short_switch_interval` in progress.

    While there are any, no thread pauses.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._due = time.monotonic() + _PIECE_S if enabled else _NEVER

    def pause(self, *, due: bool = False) -> None:
        """Pause if this thread has worked for a while since the last pause, or if ``due``."""
        begin = time.monotonic()
        if (begin >= self._due or (due and self._due != _NEVER)) and not GilYield.suspended:
            nap(_PAUSE_S)
            end = time.monotonic()
            self._due = end + _PIECE_S if end - begin < _LONG_PAUSE_S else _NEVER


class short_switch_interval:  # noqa: N801 - used as a function, in `with`
    """While entered, no thread keeps the interpreter lock for more than half a millisecond.

    By default one that computes keeps it for 5 ms, each time that this thread has waited for
    anything. Nothing pauses for others meanwhile.
    """

    def __enter__(self) -> None:
        GilYield.suspended += 1
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(min(self._before, _SWITCH_INTERVAL_S))

    def __exit__(self, *_: object) -> None:
        sys.setswitchinterval(self._before)
        GilYield.suspended -= 1
