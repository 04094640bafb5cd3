"""Native threads, locks and sockets, also where gevent has patched the standard library.

gevent replaces those of :mod:`_thread`, :mod:`threading` and :mod:`socket`. A native thread that
waited on a lock of gevent would wait for a greenlet switch that never comes.

Imported at the start of every instrumented process.
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
"""In a thread of this module, ``inherited``: the signals blocked in the thread that started it."""


def nap(seconds: float) -> None:
    """Sleep, in the native thread and not in a greenlet."""
    lock = allocate_lock()
    lock.acquire()
    lock.acquire(True, seconds)


def start_new_thread(function: "Callable[..., object]", arguments: "tuple[Any, ...]") -> None:
    """Start a thread that receives no signal of the process, nor do threads that it starts.

    The interpreter runs handlers in the main thread only. While that thread is blocked, only a
    signal delivered to itself interrupts it: one that another thread received is handled when the
    wait is over, and one that the main thread has blocked to wait for it with ``sigwait`` never
    arrives. The kernel gives a signal of the process to any thread that happens to change its mask,
    which every thread does when it starts and when it starts another. So these threads start with
    signals blocked. What a thread causes itself (SIGSEGV and its like) still reaches it.

    Args:
        function: Runs in the thread.
        arguments: Its arguments.

    Raises:
        RuntimeError: No thread can be started: in a sub-interpreter, or at the end of the process.
    """
    if not hasattr(_signal, "pthread_sigmask"):
        _start(function, arguments)
        return
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    inherited = getattr(_thread_state, "inherited", before)

    def run() -> None:
        _thread_state.inherited = inherited
        function(*arguments)

    try:
        _block_signals()
        _start(run, ())
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _block_signals() -> None:
    own = {getattr(_signal, name) for name in _OWN_SIGNALS if hasattr(_signal, name)}
    _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals() - own)


class unblock_signals:
    """While entered, a thread of this module blocks only the signals that the main thread blocks.

    For code of the application: a program that it starts inherits the blocked signals.
    """

    def __enter__(self) -> None:
        inherited = getattr(_thread_state, "inherited", None)
        if inherited is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, _blocked_in_main_thread(inherited))

    def __exit__(self, *_: object) -> None:
        if hasattr(_thread_state, "inherited"):
            _block_signals()


def _blocked_in_main_thread(default: "set[int]") -> "set[int]":
    try:
        with open(f"/proc/self/task/{os.getpid()}/status", "rb") as status:
            mask = next(int(line[7:], 16) for line in status if line.startswith(b"SigBlk:"))
    except (OSError, ValueError, StopIteration):
        return default
    return {number for number in _signal.valid_signals() if mask >> (number - 1) & 1}


def thread_count() -> int:
    """Return the kernel's count of threads: at a fork Python warns of more than one."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return _thread._count()


def await_fewer_threads(than: int, timeout: float = 0.1) -> None:
    """Wait until the process has fewer threads, after one of them was asked to end.

    Args:
        than: Number of threads that is too many.
        timeout: Longest wait in seconds.
    """
    end = time.monotonic() + timeout
    while thread_count() >= than and time.monotonic() < end:
        os.sched_yield()


class Timer:
    """A thread that does some work after a delay, unless it is stopped before.

    One thread at a time.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        """Held while the thread waits."""
        self.hurried = False
        """Whether the work was requested at once."""

    def start(self, delay: float, work: "Callable[[], object]") -> None:
        """Do ``work`` in ``delay`` seconds.

        Never, where no thread can start (sub-interpreter, shutdown).
        """
        lock = self._lock = allocate_lock()
        lock.acquire()
        try:
            start_new_thread(self._wait, (lock, delay, work))
        except RuntimeError:
            lock.release()

    def _wait(self, lock: "LockType", delay: float, work: "Callable[[], object]") -> None:
        stopped = lock.acquire(True, delay)
        # From here on end() does not wait for this thread.
        self._release(lock)
        if not stopped or self.hurried:
            work()

    def hurry(self) -> None:
        """Make the thread do its work now."""
        self.hurried = True
        self._release(self._lock)

    def stop(self) -> bool:
        """Make the thread end without doing its work; return whether it was waiting."""
        self.hurried = False
        return self._release(self._lock)

    def end(self, timeout: float) -> None:
        """Stop the thread and wait for its end, at most ``timeout`` seconds, if it was waiting."""
        threads = thread_count() if self._lock.locked() else 0
        if self.stop() and threads:
            await_fewer_threads(threads, timeout)

    @staticmethod
    def _release(lock: "LockType") -> bool:
        try:
            lock.release()
        except RuntimeError:
            # Not started, or no longer waiting.
            return False
        return True


def connect(address: "tuple[str, int]", timeout: float, source: "tuple[str, int] | None" = None) -> "socket.socket":
    """Open a TCP connection as ``socket.create_connection`` does, without gevent's replacements.

    The sockets of gevent would wait in an event loop of this thread's own, and it resolves names in
    threads, of which Python 3.12 starts none at the end of a program.

    Args:
        address: Host and port.
        timeout: Seconds to connect, for each address of the host.
        source: Host and port to connect from.

    Raises:
        OSError: No address of the host accepts the connection.
    """
    import _socket
    import socket

    monkey: Any = sys.modules.get("gevent.monkey")
    kind = socket.socket if monkey is None else monkey.get_original("socket", "socket")
    name, port = address
    failure = OSError(f"{name} has no address")
    # A str would be encoded by the codec `idna`, which takes some milliseconds to import; ASCII does not need it.
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
    """Import :mod:`threading` in a native thread without becoming its main thread.

    Up to Python 3.12 :mod:`threading` takes the thread that imports it first for the main thread;
    asyncio, signal handlers and the end of the interpreter rely on it.

    Args:
        main: Identity of the main thread.
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
    # Its present lock is released, and the main thread counted as ended, at the end of this thread.
    private._shutdown_locks.discard(thread._tstate_lock)
    thread._tstate_lock = allocate_lock()
    thread._tstate_lock.acquire()
