"""A thread that interrupts the main thread when it sleeps through a signal that ends the process.

See :mod:`otel_distro._runtime.signals`: the handler stands only where the application has none,
and without it the process would have died at once.
"""

from __future__ import annotations

from typing import Final

from otel_distro._runtime import fork, signals, threads
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.worker import Worker

_DELAYS_S: Final = (0.02, 0.1, 0.5, 1.0, 2.0)
"""How long the main thread may take to run the handler before each interruption."""
_IDLE_S: Final = 3600.0


class SignalWatch:
    """Reads the wakeup pipe of :mod:`otel_distro._runtime.signals` in a thread.

    Does nothing without a pipe.
    """

    def __init__(self) -> None:
        self._pipe: signals.SignalPipe
        self._worker = Worker("the thread that watches signals", self._work, wake=self._new_pipe)

    def start(self) -> None:
        """Start the thread, also in forked children from now on."""
        if signals.has_wakeup_pipe():
            fork.register(
                "signal watcher",
                fork.Order.SIGNAL_WATCHER,
                before=self._worker.stop_and_join,
                after_in_parent=self._worker.restart,
                after_in_child=self.reset_after_fork,
            )
            self._start()

    def reset_after_fork(self) -> None:
        """Start another thread in a forked child."""
        self._worker.reset_after_fork()
        self._start()

    def _start(self) -> None:
        with guard("the wakeup pipe for signals"):
            # Not left to the thread: a child forked in C before it runs would share the plain pipe,
            # and this process would take the child's signals for its own.
            self._pipe.request_credentials()
        self._worker.start()

    def _new_pipe(self) -> signals.SignalPipe:
        self._pipe = signals.SignalPipe()
        return self._pipe

    def _work(self) -> float:
        for delay in _DELAYS_S:
            if not any(map(signals.is_pending, self._pipe.received)):
                break
            threads.nap(delay)
            for number in self._pipe.received:
                signals.interrupt_main_thread(number)
        self._pipe.received.clear()
        return _IDLE_S
