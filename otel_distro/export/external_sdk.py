"""An SDK whose parts are not ours, as a file of ``OTEL_CONFIG_FILE`` describes it: its own ways out, our care for ends and forks."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider

from otel_distro._otel import sdk
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.worker import run_in_thread
from otel_distro.export.lifecycle import ABRUPT_EXIT_TIMEOUT_S, before_end, deliver_before

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExternalSdkLifecycle:
    """Shuts ``providers`` down at every end of the process that we see, within ``budget`` seconds for all together."""

    def __init__(self, providers: Sequence[Any], budget: float) -> None:
        self._providers = [provider for provider in providers if hasattr(provider, "shutdown")]
        self._budget = budget
        self._pid = os.getpid()
        self._finished = False

    def bind(self) -> None:
        """Take the end of the process over from the providers, and follow forks and ``os._exit``, which ends the children of multiprocessing."""
        sdk.remove_exit_handlers(self._providers)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)
        deliver_before("_exit", lambda: self._finish(min(ABRUPT_EXIT_TIMEOUT_S, self._budget)))

    def finish(self) -> None:
        """Deliver what the SDK holds. A second call does nothing."""
        self._finish(self._budget)

    def _finish(self, budget: float) -> None:
        if self._finished or self._pid != os.getpid():
            return
        self._finished = True
        for callback in before_end:
            with guard("what is told at the end of the process"):
                callback()
        # Each by itself: one that waits for its collector must not cost the others their time. Metrics come last, the
        # other two report on themselves through them.
        metrics = [provider for provider in self._providers if isinstance(provider, MeterProvider)]
        others = [provider for provider in self._providers if provider not in metrics]
        for providers in (others, metrics):
            deadline = time.monotonic() + budget / 2
            for done in [run_in_thread("the shutdown of a provider", provider.shutdown) for provider in providers]:
                done.acquire(True, max(0.0, deadline - time.monotonic()))

    def _in_child(self) -> None:
        with guard("telemetry after a fork"):
            self._finished = False
            self._pid = os.getpid()
            for provider in self._providers:
                if isinstance(provider, MeterProvider):
                    sdk.forget_measurements(provider)
