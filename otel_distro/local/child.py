"""The program under ``otel-distro local``: its start, its signals and its end.

It keeps the wrapper's file descriptors, process group, signal mask and ignored signals, as if the
wrapper did not exist. Linux only.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORWARDED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# Python ignores these from its start, and a started program inherits ignored signals.
_RESTORED: Final = (signal.SIGPIPE, signal.SIGXFSZ)
_SENT_BY_KERNEL: Final = 0x80


@dataclass(frozen=True)
class Outcome:
    """How the program ended: exit code or signal, and the resources of it and its children."""

    exit_code: int | None
    signal: int | None
    start_ns: int
    end_ns: int
    cpu_s: float
    max_rss: int


class Child:
    """A running program.

    Raises:
        OSError: It cannot be started; see :func:`exit_code_of`.
    """

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._waited = {*FORWARDED, signal.SIGCHLD}
        # From here on signals stay pending for `wait`: none is lost, and none ends the wrapper
        # before the program.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._waited)
        self._start_ns = time.time_ns()
        try:
            self.pid = os.posix_spawnp(argv[0], list(argv), dict(environ), setsigmask=self._mask, setsigdef=_RESTORED)
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            raise

    def wait(self) -> Outcome:
        """Forward signals until the program ends; afterwards signals act on the wrapper again."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            info = signal.sigwaitinfo(self._waited)
            # The terminal sends Ctrl-C and Ctrl-\ to the whole process group: the program has them
            # already.
            if info.si_signo != signal.SIGCHLD and info.si_code != _SENT_BY_KERNEL:
                os.kill(self.pid, info.si_signo)
        end_ns = time.time_ns()
        self._release()
        return Outcome(
            exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            start_ns=self._start_ns,
            end_ns=end_ns,
            cpu_s=usage.ru_utime + usage.ru_stime,
            max_rss=usage.ru_maxrss * 1024,
        )

    def _release(self) -> None:
        while signal.sigtimedwait(self._waited, 0):
            pass  # Meant for the program, which has ended.
        for number in FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def exit_code_of(error: OSError) -> int:
    """Return the exit code for a command that cannot start: 127 not found, 126 not executable."""
    return 127 if isinstance(error, FileNotFoundError) else 126


def end_like(outcome: Outcome) -> int:
    """Return the program's exit code, or die of the same signal, so that the status is the same.

    Returns 128 plus the signal where the kernel does not let this process die of it (process 1 of a
    container).
    """
    if outcome.signal is None:
        return outcome.exit_code or 0
    import resource

    # One core dump is enough, and this one would be of the wrong process.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if outcome.signal not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(outcome.signal, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [outcome.signal])
    os.kill(os.getpid(), outcome.signal)
    return 128 + outcome.signal
