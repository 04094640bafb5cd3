"""Threads and locks of the interpreter itself, taken at the start of the process, before anybody patches them.

gevent replaces those of :mod:`_thread` and :mod:`threading`. A thread of ours that waited on one of its locks would wait
for a switch that never comes.
"""

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

allocate_lock = _thread.allocate_lock
start_new_thread = _thread.start_new_thread
get_ident = _thread.get_ident
LockType = _thread.LockType
TIMEOUT_MAX = _thread.TIMEOUT_MAX


def thread_count() -> int:
    """Return how many threads the process has: as the kernel counts them, which is what Python warns of at a fork."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return _thread._count()


def await_fewer_threads(than: int) -> None:
    """Wait until the process has fewer threads, at most some milliseconds: one was told to end just now."""
    for _ in range(1000):
        if thread_count() < than:
            return
        os.sched_yield()


def import_threading(main: int) -> None:
    """Import :mod:`threading` in a thread of ours without becoming its main thread; ``main`` is the identity of that one.

    Up to Python 3.12 the thread that imports it first counts as the main thread, for ever: asyncio, signal handlers and
    the end of the interpreter rely on which one it is.
    """
    if "threading" in sys.modules:
        return
    import threading

    if sys.version_info >= (3, 13):
        return
    private: Any = threading
    thread = private._main_thread
    private._active[main] = private._active.pop(thread._ident)
    thread._ident = main
    thread._native_id = os.getpid()
    # The lock that it has would be released, and the thread counted as ended, at the end of this thread.
    private._shutdown_locks.discard(thread._tstate_lock)
    thread._tstate_lock = allocate_lock()
    thread._tstate_lock.acquire()
