"""Threads, locks and sockets of the interpreter itself, taken before anybody patches them or in spite of it.

gevent replaces those of :mod:`_thread`, :mod:`threading` and :mod:`socket`. A thread of ours that waited on one of its locks would wait
for a switch that never comes.
"""

import _signal  # type: ignore[import-not-found]
import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
_start = _thread.start_new_thread
LockType = _thread.LockType
TIMEOUT_MAX = _thread.TIMEOUT_MAX

_OWN_SIGNALS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGSYS", "SIGTRAP")
_thread_state = _thread._local()
"""In a thread of ours: ``outside``, the signals that were blocked where it was started."""


def nap(seconds: float) -> None:
    """Sleep in this thread itself."""
    lock = allocate_lock()
    lock.acquire()
    lock.acquire(True, seconds)


def start_new_thread(function: "Callable[..., object]", arguments: "tuple[Any, ...]") -> None:
    """Start a thread to which no signal is delivered, nor to those that it starts. Raises ``RuntimeError`` where none can be had.

    The interpreter runs handlers in the main thread only, and where that one waits for something, nothing but a signal of
    its own wakes it: one that another thread took would be heard when the wait is over, and one that the main thread
    blocks, to wait for it with ``sigwait``, never. The kernel gives a signal of the process to any thread that happens to
    change its mask, as each does that is born or starts another: so ours are born with signals blocked. What a thread does
    to itself (SIGSEGV and its like) still reaches it.
    """
    if not hasattr(_signal, "pthread_sigmask"):
        _start(function, arguments)
        return
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    outside = getattr(_thread_state, "outside", before)

    def run() -> None:
        _thread_state.outside = outside
        function(*arguments)

    try:
        _block_signals()
        _start(run, ())
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _block_signals() -> None:
    own = {getattr(_signal, name) for name in _OWN_SIGNALS if hasattr(_signal, name)}
    _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals() - own)


class SignalsHeard:
    """For a while, let a thread of ours hear the signals that the main thread hears: it runs code of the application.

    Programs that are started there would have them blocked as well.
    """

    def __enter__(self) -> None:
        outside = getattr(_thread_state, "outside", None)
        if outside is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, _blocked_in_main_thread(outside))

    def __exit__(self, *_: object) -> None:
        if hasattr(_thread_state, "outside"):
            _block_signals()


def _blocked_in_main_thread(otherwise: "set[int]") -> "set[int]":
    try:
        with open(f"/proc/self/task/{os.getpid()}/status", "rb") as status:
            mask = next(int(line[7:], 16) for line in status if line.startswith(b"SigBlk:"))
    except (OSError, ValueError, StopIteration):
        return otherwise
    return {number for number in _signal.valid_signals() if mask >> (number - 1) & 1}


def thread_count() -> int:
    """Return how many threads the process has: as the kernel counts them, which is what Python warns of at a fork."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return _thread._count()


def await_fewer_threads(than: int, patience: float = 0.02) -> None:
    """Wait until the process has fewer threads, at most ``patience`` seconds: one was told to end just now."""
    end = time.monotonic() + patience
    while thread_count() >= than and time.monotonic() < end:
        os.sched_yield()


class Timer:
    """A thread that does some work after a while, unless it is told to end before. One at a time."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        """Held as long as the thread waits."""
        self.hurried = False
        """Whether the work is wanted at once."""

    def start(self, delay: float, work: "Callable[[], object]") -> None:
        """Do ``work`` in ``delay`` seconds; where no threads can be had (sub-interpreters, shutdown) it is not done."""
        lock = self._lock = allocate_lock()
        lock.acquire()
        try:
            start_new_thread(self._wait, (lock, delay, work))
        except RuntimeError:
            lock.release()

    def _wait(self, lock: "LockType", delay: float, work: "Callable[[], object]") -> None:
        told = lock.acquire(True, delay)
        # Nobody is to wait any more for a timer that has come to its end.
        self._let_go(lock)
        if not told or self.hurried:
            work()

    def hurry(self) -> None:
        """Let the thread do its work now."""
        self.hurried = True
        self._let_go(self._lock)

    def stop(self) -> bool:
        """Let the thread end without its work; return whether it waited."""
        self.hurried = False
        return self._let_go(self._lock)

    def end(self, patience: float) -> None:
        """Let the thread end without its work and wait for that, at most ``patience`` seconds, if it waited."""
        threads = thread_count() if self._lock.locked() else 0
        if self.stop() and threads:
            await_fewer_threads(threads, patience)

    @staticmethod
    def _let_go(lock: "LockType") -> bool:
        try:
            lock.release()
        except RuntimeError:
            # It does not wait: not started, or at its end.
            return False
        return True


def connect(address: "tuple[str, int]", timeout: float, source: "tuple[str, int] | None" = None) -> "socket.socket":
    """Open a TCP connection as ``socket.create_connection`` does, with what gevent puts there in its place left out.

    Its sockets wait in an event loop that is our thread's own, and it looks up names in threads, of which Python 3.12
    starts no more at the end of a program.
    """
    import _socket
    import socket

    monkey: Any = sys.modules.get("gevent.monkey")
    kind = socket.socket if monkey is None else monkey.get_original("socket", "socket")
    name, port = address
    failure = OSError(f"{name} has no address")
    # A text would be encoded with a codec that takes some milliseconds to import, for what ASCII has no use for.
    host = name.encode() if name.isascii() else name
    for family, variant, protocol, _, place in _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM):
        connection: socket.socket = kind(family, variant, protocol)
        try:
            connection.settimeout(timeout)
            if source is not None:
                connection.bind(source)
            connection.connect(place)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


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
