"""Wakes the main thread when it sleeps through a signal that is to end the process.

Its handler is ours only where the application has none, and without it the process would be gone at once.
"""

from __future__ import annotations

import os
from typing import Final

from otel_distro._runtime import signal_wakeup, signals, threads
from otel_distro._runtime.worker import Worker

_PAUSES: Final = (0.02, 0.1, 0.5, 1.0, 2.0)
"""Seconds that the main thread is given before it is told, and told again."""
_IDLE: Final = 3600.0


class SignalWatch:
    """A thread that hears which signals the interpreter has noted. Nothing where they are not told: see ``_wakeup``."""

    def __init__(self) -> None:
        self._ear: signal_wakeup.SignalPipe
        self._worker = Worker("the thread that hears signals", self._work, wake=self._new_ear)

    def start(self) -> None:
        """Start the thread, and follow forks from here on."""
        if signal_wakeup.is_open():
            os.register_at_fork(
                before=self._worker.stop_and_join, after_in_parent=self._worker.restart, after_in_child=self._begin_anew
            )
            self._worker.start()

    def _new_ear(self) -> signal_wakeup.SignalPipe:
        self._ear = signal_wakeup.SignalPipe()
        return self._ear

    def _begin_anew(self) -> None:
        self._worker.renew()
        self._worker.start()

    def _work(self) -> float:
        for pause in _PAUSES:
            if not any(map(signals.is_unheard, self._ear.received)):
                break
            threads.nap(pause)
            for number in self._ear.received:
                signals.interrupt_main_thread(number)
        self._ear.received.clear()
        return _IDLE
