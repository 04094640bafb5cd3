"""Exit and fork handling for an SDK that ``OTEL_CONFIG_FILE`` describes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider

from otel_distro._otel import sdk
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import fork
from otel_distro._runtime.worker import run_in_thread
from otel_distro.export.lifecycle import ABRUPT_EXIT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = "telemetry"


class ExternalSdkLifecycle:
    """Shuts the providers down before the process ends."""

    def __init__(self, providers: Sequence[Any], budget: float) -> None:
        """Keep the providers that can be shut down.

        Args:
            providers: Providers of traces, metrics and logs.
            budget: Seconds that the shutdown may take, for all of them together.
        """
        self._providers = [provider for provider in providers if hasattr(provider, "shutdown")]
        self._budget = budget
        self._pid = os.getpid()
        self._finished = False

    def bind(self) -> None:
        """Replace the exit functions of the providers; follow forks and ``os._exit`` from here on.

        ``os._exit`` ends the children of :mod:`multiprocessing`.
        """
        sdk.remove_exit_handlers(self._providers)
        fork.register(_NAME, fork.Order.TELEMETRY, after_in_child=self.reset_after_fork)
        process_exit.register(_NAME, process_exit.Order.TELEMETRY, before_exit=self._before_exit)

    def finish(self, spent: float = 0.0) -> None:
        """Deliver what the SDK holds. A second call does nothing.

        Args:
            spent: Seconds of the budget that the end of the process has used before.
        """
        self._finish(self._budget - spent)

    def _finish(self, budget: float) -> None:
        if self._finished or self._pid != os.getpid():
            return
        self._finished = True
        process_exit.run_before_end()
        # In parallel: one that waits for its collector must not use up the time of the others. Metrics
        # come last, because the other two report their own metrics through them.
        metrics = [provider for provider in self._providers if isinstance(provider, MeterProvider)]
        others = [provider for provider in self._providers if provider not in metrics]
        for providers in (others, metrics):
            deadline = time.monotonic() + budget / 2
            for done in [run_in_thread("the shutdown of a provider", provider.shutdown) for provider in providers]:
                done.acquire(True, max(0.0, deadline - time.monotonic()))

    def reset_after_fork(self) -> None:
        """Start empty in a forked child: what the SDK has counted is the parent's."""
        self._finished = False
        self._pid = os.getpid()
        for provider in self._providers:
            if isinstance(provider, MeterProvider):
                sdk.forget_measurements(provider)

    def _before_exit(self) -> None:
        self._finish(min(ABRUPT_EXIT_TIMEOUT_S, self._budget))
