"""The pipeline in the life of the process: the last delivery, and forks."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import fork, threads, uwsgi_forks
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.worker import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from otel_distro._otel.sdk import LoggerProvider
    from otel_distro.export.pipeline import Pipeline


ABRUPT_EXIT_TIMEOUT_S = 0.5
"""Longest delivery before ``os._exit``, ``os.abort`` and exec; what is left stays in the spool."""
_CHILD_END_TIMEOUT_S = 0.1
_CHILD_POLL_S = 0.005
_NAME = "telemetry"


class Lifecycle:
    """Binds a pipeline and its providers to the life of the process. A process has one instance."""

    def __init__(
        self,
        pipeline: Pipeline,
        tracer: TracerProvider,
        meter: MeterProvider,
        logger: LoggerProvider,
        budget: float,
        longest: float = 0.0,
    ) -> None:
        """Keep what the end of the process and forks concern.

        Args:
            pipeline: The pipeline, not yet started.
            tracer: Shut down at the end, like ``meter`` and ``logger``.
            meter: See ``tracer``; its measurements are reset in a forked child.
            logger: See ``tracer``.
            budget: Seconds that the last delivery may take.
            longest: The same where the collector is known to be slow.
        """
        self._pipeline = pipeline
        self._providers = (tracer, meter, logger)
        self._meter = meter
        self._budget = budget
        self._longest = longest
        self._pid = os.getpid()

    def bind(self) -> None:
        """Start the pipeline.

        From here on it follows forks and delivers before the process ends.
        """
        fork.register(
            _NAME,
            fork.Order.TELEMETRY,
            before=self._pipeline.before_fork,
            after_in_parent=self._pipeline.after_fork_in_parent,
            after_in_child=self.reset_after_fork,
        )
        process_exit.register(
            _NAME,
            process_exit.Order.TELEMETRY,
            before_exit=self._before_exit,
            before_exec=self._before_exec,
            before_signal=self._before_signal,
        )
        if uwsgi_forks.follow(self._pipeline.start, self._pipeline.leave_metrics):
            self._pipeline.note_children()
        self._pipeline.start()

    def finish(self, spent: float = 0.0) -> None:
        """Deliver everything within the exit budget, for all signals together.

        Args:
            spent: Seconds of the budget that the end of the process has used before.
        """
        if self._pid != os.getpid():
            # A forked child that ends before its callbacks ran: the queues are the parent's.
            return
        budget = self._budget - spent
        deadline = time.monotonic() + budget
        self._finish_pipeline(budget, self._longest)
        # Other exporters (console, a processor the application added) have their own shutdown.
        done = run_in_thread("the shutdown of the providers", self._shut_down_providers)
        done.acquire(True, max(0.0, deadline - time.monotonic()) + 0.01)

    def reset_after_fork(self) -> None:
        """Start empty in a forked child: what the pipeline and the SDK hold is the parent's."""
        sdk.forget_measurements(self._meter)
        self._set_own_instance_id()
        self._pipeline.reset_after_fork(lambda: sdk.has_measurements(self._meter))
        self._pid = os.getpid()

    @property
    def _has_work(self) -> bool:
        return self._pid == os.getpid() and not self._pipeline.idle

    def _before_exit(self) -> None:
        if self._has_work:
            self._finish_pipeline(min(ABRUPT_EXIT_TIMEOUT_S, self._budget))

    def _before_exec(self, path: object, argv: object) -> None:
        # The call may fail, and then the process keeps running: nothing is closed.
        if self._has_work:
            self._pipeline.flush(min(ABRUPT_EXIT_TIMEOUT_S, self._budget))

    def _before_signal(self) -> None:
        if self._pid == os.getpid():
            self._finish_pipeline(self._budget, self._longest)

    def _finish_pipeline(self, budget: float, longest: float = 0.0) -> None:
        process_exit.run_before_end()
        if _had_children():
            # As those of a reloader, which kills its child a quarter of a second after Ctrl-C.
            self._pipeline.note_children()
        self._pipeline.finish(budget, longest)

    def _shut_down_providers(self) -> None:
        for provider in self._providers:
            with guard("the shutdown of a provider"):
                provider.shutdown()

    def _set_own_instance_id(self) -> None:
        """Derive the instance id from the one that the user chose; the SDK has set a random one."""
        chosen = chosen_instance_id(os.environ)
        if chosen:
            from opentelemetry.sdk.resources import Resource

            own = Resource({schema.SERVICE_INSTANCE_ID.name: f"{chosen}-{os.getpid()}"})
            sdk.merge_resource(self._providers, own)


def _had_children() -> bool:
    """Return whether this process has or had children; :mod:`subprocess` runs no fork callbacks.

    A child that still runs gets a moment to end: :func:`subprocess.run` kills its child a quarter
    of a second after Ctrl-C and does not wait for the end of it.
    """
    end = time.monotonic() + _CHILD_END_TIMEOUT_S
    try:
        # Leaves a child that has ended for others to wait for.
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end:
            threads.nap(_CHILD_POLL_S)
    except (AttributeError, OSError):
        # None is left; those that were waited for have used processor time.
        return any(os.times()[2:4])
    return True


def chosen_instance_id(environ: Mapping[str, str]) -> str:
    """Return ``service.instance.id`` of ``OTEL_RESOURCE_ATTRIBUTES``, empty where it is not set."""
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == schema.SERVICE_INSTANCE_ID.name:
            return value.strip()
    return ""
