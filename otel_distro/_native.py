"""Threads and locks of the interpreter itself, taken at the start of the process, before anybody patches them.

gevent replaces those of :mod:`_thread` and :mod:`threading`. A thread of ours that waited on one of its locks would wait
for a switch that never comes.
"""

import _thread
import os

allocate_lock = _thread.allocate_lock
start_new_thread = _thread.start_new_thread
get_ident = _thread.get_ident
thread_count = _thread._count
LockType = _thread.LockType
TIMEOUT_MAX = _thread.TIMEOUT_MAX


def await_fewer_threads(than: int) -> None:
    """Wait until the interpreter runs fewer threads, at most some milliseconds: one was told to end just now."""
    for _ in range(1000):
        if thread_count() < than:
            return
        os.sched_yield()
