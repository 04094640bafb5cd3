"""A lock that raises where another one would wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_distro._runtime import threads

if TYPE_CHECKING:
    from types import TracebackType

_LOCK_TIMEOUT_S = 10.0


class TimeoutLock:
    """A lock that raises instead of deadlocking.

    That is after 10 s, or at once in the thread that holds it: a signal handler may run in the
    middle of what that thread does.
    """

    def __init__(self) -> None:
        self._lock = threads.allocate_lock()
        self._owner = 0

    def __enter__(self) -> None:
        me = threads.get_ident()
        if self._owner == me or not self._lock.acquire(True, _LOCK_TIMEOUT_S):
            raise RuntimeError("the spool is in use by a thread that does not move")
        self._owner = me

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._owner = 0
        self._lock.release()
