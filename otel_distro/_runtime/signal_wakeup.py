"""The signals that the interpreter has noted, told to a thread of ours: the main thread may sleep through them.

The kernel gives a signal of the process to any of its threads. The interpreter notes it there, and the main thread runs the
handler when it comes to its next instruction; one that waits for something does not, unless the signal came to itself and
while it waited. So a program with a handler of ours could sleep through a SIGTERM of which it would have died without us.

The interpreter writes the number of each signal that it notes to a descriptor
(https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd). Who reads ours (:class:`SignalPipe`) can tell the main thread.
To the application nothing is there: its own descriptor takes the place of ours, for as long as it wants, and what closes
all descriptors leaves ours open, for a signal that finds them closed would be complained about on stderr.

Imported at the start of every instrumented process.
"""

import _signal  # type: ignore[import-not-found]
import os
import sys

from otel_distro._runtime import import_hooks, threads
from otel_distro._runtime.diagnostics import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_HIGHEST = 1000
"""Descriptors of ours have high numbers: those that the application gets are the ones it would get without us."""
_LOWEST = 100
_MOST_BYTES = 64
_CREDENTIALS = 12
_EBADF = 9

_close = os.close
_set_wakeup_fd = _signal.set_wakeup_fd
_descriptors: "list[int]" = []
"""The one to read and the one that the interpreter writes to; empty where signals are not told."""
main = [0]
"""The identity of the main thread."""


def open_pair() -> None:
    """Have signals told from here on. Only in the main thread; where the application has a descriptor, nothing happens."""
    if sys.platform != "linux":
        # Elsewhere a socket does not say which process has written.
        return
    with guard("hearing of signals"):
        if not _place(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)):
            return
        if not _take_place():
            _forget()
            return
        main[0] = threads.get_ident()
        _keep_open()
        import_hooks.when_imported("signal", _stand_back)
        os.register_at_fork(after_in_child=_renew)


def is_open() -> bool:
    """Whether signals are told."""
    return bool(_descriptors)


def _place(reader: int, writer: int) -> bool:
    """Give a pair its numbers, those it has now where there are any; return whether that could be done."""
    try:
        numbers = _descriptors or _free_numbers()
        for number, descriptor in zip(numbers, (reader, writer), strict=True):
            os.dup2(descriptor, number, False)
        _descriptors[:] = numbers
    except OSError:
        # Not that many descriptors may be opened.
        return False
    finally:
        _close(reader)
        _close(writer)
    return True


def _free_numbers() -> "list[int]":
    found = []
    for number in range(_HIGHEST, _LOWEST, -1):
        try:
            os.fstat(number)
        except OSError:
            found.append(number)
            if len(found) == 2:
                return found
    raise OSError(_EBADF, "no number is free")


def _forget() -> None:
    for descriptor in _descriptors:
        _close(descriptor)
    _descriptors.clear()


def _take_place() -> bool:
    """Let the interpreter write to ours; return False, and change nothing, where it writes elsewhere."""
    before = _set_wakeup_fd(_descriptors[1], warn_on_full_buffer=False)
    if before in (-1, _descriptors[1]):
        return True
    _set_wakeup_fd(before)
    return False


def _renew() -> None:
    """Share nothing with the parent, in a forked child."""
    with guard("hearing of signals"):
        main[0] = threads.get_ident()
        if _descriptors:
            _place(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))


def _stand_back(module: "ModuleType") -> None:
    """Leave the place to the descriptor of the application, and take it again when it is taken away."""
    place: Any = module
    set_wakeup_fd = place.set_wakeup_fd

    def set_or_ours(*args: "Any", **kwargs: "Any") -> "Any":
        before = set_wakeup_fd(*args, **kwargs)
        if _descriptors and args[0] == -1:
            with guard("hearing of signals"):
                _set_wakeup_fd(_descriptors[1], warn_on_full_buffer=False)
        return -1 if before in _descriptors else before

    set_or_ours.__name__ = set_or_ours.__qualname__ = "set_wakeup_fd"
    set_or_ours.__doc__ = set_wakeup_fd.__doc__
    place.set_wakeup_fd = set_or_ours


def _keep_open() -> None:
    """To whoever closes all descriptors ours are not there: daemons do so."""
    close_one, close_many, ours = os.close, os.closerange, _descriptors

    def close(fd: int) -> None:
        if fd in ours:
            raise OSError(_EBADF, os.strerror(_EBADF))
        close_one(fd)

    def closerange(fd_low: int, fd_high: int, /) -> None:
        for descriptor in sorted(ours):
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
    """Waits for signals, as a lock that each of them releases. One thread at a time."""

    def __init__(self) -> None:
        self.received: set[int] = set()
        """Numbers of signals since it was last emptied."""
        self._knows_senders = False

    def acquire(self, _: bool = True, timeout: float = 0.0) -> None:
        """Wait for a signal, or for :meth:`release`, at most ``timeout`` seconds. Raises ``OSError``."""
        import _socket

        if not self._knows_senders:
            self._know_senders()
            self._knows_senders = True
        reader = _socket.socket(fileno=_descriptors[0])
        try:
            reader.settimeout(timeout)
            data, more = reader.recvmsg(_MOST_BYTES, _socket.CMSG_SPACE(_CREDENTIALS))[:2]
        except (TimeoutError, BlockingIOError):
            return
        finally:
            reader.detach()
        if any(int.from_bytes(credentials[:4], sys.byteorder) == os.getpid() for _, _, credentials in more):
            # Not from a child that was forked behind the interpreter's back: it writes to the same descriptor.
            self.received.update(data)

    def release(self) -> None:
        """Let whoever waits go on."""
        try:
            os.write(_descriptors[1], b"\0")
        except (OSError, IndexError):
            # Full of signals, so nobody waits; or not open.
            return

    def _know_senders(self) -> None:
        """Put a pair of sockets in the place of the pipe, for they say who has written. What was told by then is heard."""
        import _socket

        reader, writer = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        )
        reader.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        earlier = os.dup(_descriptors[0])
        try:
            _place(reader.detach(), writer.detach())
            self.received.update(os.read(earlier, _MOST_BYTES))
        except BlockingIOError:
            pass
        finally:
            _close(earlier)
