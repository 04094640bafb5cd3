"""Signals that end a process: telemetry is delivered before the default disposition applies.

Two parts. The handler stands in for the default one and is invisible: the application sees
``SIG_DFL``, and setting that again, as servers do in their workers and as asyncio does when it
removes its own handler, reinstalls this one.

The wakeup pipe covers a gap that a Python handler opens. The kernel gives a signal of the process
to any of its threads; the interpreter records it there, and the main thread runs the handler at its
next instruction. A main thread that is blocked in a system call stays blocked unless the signal
arrived in that thread itself. So a program could sleep through a SIGTERM that would have killed it
without this handler. The interpreter writes the number of each signal that it records to a
descriptor (https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd); the thread of
:mod:`otel_distro._runtime.signal_watcher` reads it and interrupts the main thread. The descriptor
is invisible too: one that the application sets replaces this one for as long as it is set, and
calls that close all descriptors leave it open, because a signal that finds it closed prints a
warning on stderr.

Imported at the start of every instrumented process; :mod:`signal` itself is slow to import.
"""

import _signal  # type: ignore[import-not-found]
import os
import sys

from otel_distro._runtime import fork, import_hooks, threads
from otel_distro._runtime.diagnostics import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")
_MAX_DESCRIPTOR = 1000
"""High numbers leave the application those that it would get without this pipe."""
_MIN_DESCRIPTOR = 100
_READ_BYTES = 64
_CREDENTIALS_BYTES = 12
_EBADF = 9
_WAKEUP = "the wakeup pipe for signals"

_close = os.close
_set_wakeup_fd = _signal.set_wakeup_fd

_pending: "dict[int, Callable[[int, Any], None]]" = {}
"""Handlers by signal number that stand for the default one and have not run.

No entry where the application has its own.
"""
_descriptors: "list[int]" = []
"""Read end and write end of the wakeup pipe; empty without a pipe."""


class _MainThread:
    """The main thread, as :func:`interrupt_main_thread` needs it."""

    __slots__ = ("ident",)

    def __init__(self) -> None:
        self.ident = 0


_main = _MainThread()


def handle(on_signal: "Callable[[int, Any], None]") -> None:
    """Call ``on_signal(number, frame)`` on SIGTERM and SIGHUP where the disposition is the default.

    Only the main thread can do this; in another thread, and in a sub-interpreter, nothing happens.
    """
    numbers = {getattr(_signal, name) for name in _NAMES if hasattr(_signal, name)}
    for number in numbers:
        if _signal.getsignal(number) == _signal.SIG_DFL:
            _pending[number] = on_signal
            try:
                _signal.signal(number, on_signal)
            except ValueError:
                _pending.clear()
                return
    import_hooks.when_imported("signal", lambda module: _hide_handler(module, numbers, on_signal))
    _open_wakeup_pipe()


def hold_back() -> "Callable[[], None]":
    """Let no handler of the application interrupt this thread for now.

    Called before an import: one that is interrupted, as by ``KeyboardInterrupt``, can leave modules
    half imported that the application needs too. The second signal of a number is not held back. A
    handler that was installed in C stays: it raises nothing, and :mod:`signal` could not restore
    it.

    Returns:
        Ends that, and sends again what came meanwhile. It does nothing in other threads than the
        main one, where no handler runs.
    """
    held: list[int] = []
    replaced: dict[int, Any] = {}

    def hold(number: int, frame: "Any") -> None:
        if number in held:
            replaced[number](number, frame)
        else:
            held.append(number)

    def end() -> None:
        for number, handler in replaced.items():
            if _signal.getsignal(number) is hold:
                _signal.signal(number, handler)
        for number in held:
            _signal.raise_signal(number)

    own = set(_pending.values())
    handlers = {number: _signal.getsignal(number) for number in _signal.valid_signals()}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler) and handler not in own}
    try:
        from otel_distro._runtime import native_handlers

        for number in native_handlers.without_native(handlers):
            replaced[number] = handlers[number]
            _signal.signal(number, hold)
    except ValueError:
        # Not the main thread.
        return end
    except BaseException:
        # A handler raised before it was replaced.
        end()
        raise
    return end


def interrupt_main_thread(number: int, main: int = 0) -> None:
    """Send a signal to the main thread, unless its handler is the application's or has begun.

    Args:
        number: The signal.
        main: Identity of that thread, where the wakeup pipe may not be there.
    """
    # No other thread runs between these two steps; the handler could begin there and remove itself.
    if number in _pending:
        _signal.pthread_kill(main or _main.ident, number)


def is_pending(number: int) -> bool:
    """Return whether the handler of a signal stands for the default one and has not begun."""
    return number in _pending


def restore_default(number: int) -> bool:
    """Set the default disposition.

    The handler calls this first; returns False where it ran before.
    """
    if _pending.pop(number, None) is None:
        return False
    if hasattr(_signal, "pthread_sigmask"):
        # Delivers what interrupt_main_thread() has sent while there is still a handler for it.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    _signal.signal(number, _signal.SIG_DFL)
    return True


def _hide_handler(module: "ModuleType", numbers: "set[int]", on_signal: "Callable[[int, Any], None]") -> None:
    """Show ``SIG_DFL`` in the place of this handler, and install the handler where that is set."""
    with guard("following signal handlers"):
        import functools

        signal: Any = module
        set_handler, get_handler = signal.signal, signal.getsignal

        @functools.wraps(set_handler)
        def set_or_stand_in(number: "Any", handler: "Any") -> "Any":
            is_default = handler == _signal.SIG_DFL and number in numbers
            known = dict(_pending)
            if is_default:
                _pending[number] = on_signal
            try:
                before = set_handler(number, on_signal if is_default else handler)
            except BaseException:
                _pending.clear()
                _pending.update(known)
                raise
            if not is_default:
                _pending.pop(int(number), None)
            return signal.SIG_DFL if before is on_signal else before

        @functools.wraps(get_handler)
        def get_handler_or_default(number: "Any") -> "Any":
            handler = get_handler(number)
            return signal.SIG_DFL if handler is on_signal else handler

        signal.signal, signal.getsignal = set_or_stand_in, get_handler_or_default


def has_wakeup_pipe() -> bool:
    """Return whether the interpreter writes the numbers of signals to the pipe."""
    return bool(_descriptors)


def _open_wakeup_pipe() -> None:
    """Let the interpreter write to the pipe, unless the application has set a descriptor.

    Main thread only.
    """
    if sys.platform != "linux":
        # Elsewhere a socket does not name the process that has written.
        return
    with guard(_WAKEUP):
        if not _install_pair(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)):
            return
        if not _set_pipe():
            for descriptor in _descriptors:
                _close(descriptor)
            _descriptors.clear()
            return
        _main.ident = threads.get_ident()
        _keep_open()
        import_hooks.when_imported("signal", _hide_wakeup_fd)
        fork.register("signals", fork.Order.SIGNALS, after_in_child=reset_after_fork)


def reset_after_fork() -> None:
    """Open a pipe of its own in a forked child."""
    _main.ident = threads.get_ident()
    if _descriptors:
        _install_pair(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))


def _install_pair(reader: int, writer: int) -> bool:
    """Move a pair to its high numbers, the present ones if there are any.

    Return False where that fails.
    """
    try:
        numbers = _descriptors or _free_numbers()
        for number, descriptor in zip(numbers, (reader, writer), strict=True):
            os.dup2(descriptor, number, False)
        _descriptors[:] = numbers
    except OSError:
        # The limit of open files is lower.
        return False
    finally:
        _close(reader)
        _close(writer)
    return True


def _free_numbers() -> "list[int]":
    found = []
    for number in range(_MAX_DESCRIPTOR, _MIN_DESCRIPTOR, -1):
        try:
            os.fstat(number)
        except OSError:
            found.append(number)
            if len(found) == 2:
                return found
    raise OSError(_EBADF, "no number is free")


def _set_pipe() -> bool:
    """Return False, and change nothing, where the application has set a wakeup descriptor."""
    before = _set_wakeup_fd(_descriptors[1], warn_on_full_buffer=False)
    if before in (-1, _descriptors[1]):
        return True
    _set_wakeup_fd(before)
    return False


def _hide_wakeup_fd(module: "ModuleType") -> None:
    """Give way to a descriptor of the application, and set the pipe again when it is removed."""
    signal: Any = module
    set_wakeup_fd = signal.set_wakeup_fd

    def set_wakeup_fd_or_pipe(*args: "Any", **kwargs: "Any") -> "Any":
        before = set_wakeup_fd(*args, **kwargs)
        if _descriptors and args[0] == -1:
            with guard(_WAKEUP):
                _set_wakeup_fd(_descriptors[1], warn_on_full_buffer=False)
        return -1 if before in _descriptors else before

    set_wakeup_fd_or_pipe.__name__ = set_wakeup_fd_or_pipe.__qualname__ = "set_wakeup_fd"
    set_wakeup_fd_or_pipe.__doc__ = set_wakeup_fd.__doc__
    signal.set_wakeup_fd = set_wakeup_fd_or_pipe


def _keep_open() -> None:
    """Exclude the pipe from ``os.close`` and ``os.closerange``: daemons close all descriptors."""
    close_one, close_many, kept = os.close, os.closerange, _descriptors

    def close(fd: int) -> None:
        if fd in kept:
            raise OSError(_EBADF, os.strerror(_EBADF))
        close_one(fd)

    def closerange(fd_low: int, fd_high: int, /) -> None:
        for descriptor in sorted(kept):
            if fd_low <= descriptor < fd_high:
                close_many(fd_low, descriptor)
                fd_low = descriptor + 1
        close_many(fd_low, fd_high)

    for function, original in ((close, close_one), (closerange, close_many)):
        function.__qualname__ = function.__name__
        function.__module__ = "os"
        function.__doc__ = original.__doc__
    os.close, os.closerange = close, closerange


class SignalPipe:
    """The read end of the wakeup pipe, as a lock that each signal releases.

    Used by one thread at a time.
    """

    def __init__(self) -> None:
        self.received: set[int] = set()
        """Numbers of the signals since it was last emptied."""
        self._has_credentials = False

    def acquire(self, _: bool = True, timeout: float = 0.0) -> None:
        """Wait for a signal, or for :meth:`release`, at most ``timeout`` seconds.

        Raises ``OSError``.
        """
        import _socket

        self.request_credentials()
        reader = _socket.socket(fileno=_descriptors[0])
        try:
            reader.settimeout(timeout)
            data, more = reader.recvmsg(_READ_BYTES, _socket.CMSG_SPACE(_CREDENTIALS_BYTES))[:2]
        except (TimeoutError, BlockingIOError):
            return
        finally:
            reader.detach()
        if any(int.from_bytes(credentials[:4], sys.byteorder) == os.getpid() for _, _, credentials in more):
            # A child forked without the callbacks of the interpreter writes to the same socket.
            self.received.update(data)

    def release(self) -> None:
        """End the wait of :meth:`acquire`."""
        try:
            os.write(_descriptors[1], b"\0")
        except (OSError, IndexError):
            # Full of signals, so the reader does not wait; or not open.
            return

    def request_credentials(self) -> None:
        """Replace the pipe by a pair of sockets, which name the writing process; keep its content.

        :meth:`acquire` does it where it was not done before. Raises ``OSError``.
        """
        if self._has_credentials:
            return
        import _socket

        reader, writer = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        )
        reader.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        earlier = os.dup(_descriptors[0])
        try:
            _install_pair(reader.detach(), writer.detach())
            self._has_credentials = True
            self.received.update(os.read(earlier, _READ_BYTES))
        except BlockingIOError:
            pass
        finally:
            _close(earlier)
