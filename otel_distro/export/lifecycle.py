"""What the end of a process and the birth of a child do to telemetry."""

from __future__ import annotations

import functools
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._runtime import uwsgi_forks
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.worker import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from otel_distro._otel.sdk import LoggerProvider
    from otel_distro.export.pipeline import Pipeline


ABRUPT_EXIT_TIMEOUT_S = 0.5
"""Seconds that ``os._exit``, ``os.abort`` and exec may take at most to deliver; what is left is in the spool."""

_WHAT = "delivering before the process vanishes"
_FINAL = ("_exit", "abort")
_DEADLY = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT") if hasattr(signal, name)]

before_end: list[Callable[[], None]] = []
"""Called before the last delivery of the process: instrumentors that hold something back."""


def deliver_before(name: str, deliver: Callable[[], None]) -> None:
    """Call ``deliver()`` before ``os.name``, after which this program is gone without any exit function."""
    vanish = getattr(os, name, None)
    if vanish is None:
        return

    @functools.wraps(vanish)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if name in _FINAL:
            _deliver_at_last(deliver)
        else:
            with guard(_WHAT):
                deliver()
        return vanish(*args, **kwargs)

    setattr(os, name, wrapper)


def _deliver_at_last(deliver: Callable[[], None]) -> None:
    """Deliver where the process would be gone without us before a signal's handler could raise anything, as Celery's do."""
    for _ in range(2):
        with suppress(BaseException), guard(_WHAT):
            deliver()
            return


class Lifecycle:
    """Binds a pipeline and its providers to the life of the process. One of it exists in a process.

    ``budget``: seconds that the last delivery may take; ``longest``: the same where the collector is known to be slow.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        tracer: TracerProvider,
        meter: MeterProvider,
        logger: LoggerProvider,
        budget: float,
        longest: float = 0.0,
    ) -> None:
        self._pipeline = pipeline
        self._providers = (tracer, meter, logger)
        self._meter = meter
        self._budget = budget
        self._longest = longest
        self._pid = os.getpid()
        self.after_fork: list[Callable[[], None]] = []
        """Called in a forked child once telemetry stands again: instrumentors that keep state of the process."""

    def bind(self) -> None:
        """Start the pipeline and follow forks from here on."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._pipeline.before_fork,
                after_in_parent=self._pipeline.after_fork_in_parent,
                after_in_child=self._in_child,
            )
        for name in _FINAL:
            deliver_before(name, self._vanish)
        self._before_raised()
        # An exec may fail, and then life goes on.
        for name in ("execv", "execve"):
            deliver_before(name, self._flush_pipeline)
        if uwsgi_forks.follow(self._pipeline.start, self._pipeline.leave_metrics):
            self._pipeline.note_children()
        self._pipeline.start()

    def _before_raised(self) -> None:
        """Deliver before a program kills itself by a signal whose disposition it has set to the default, as uvicorn does."""
        raise_signal = signal.raise_signal

        @functools.wraps(raise_signal)
        def wrapper(number: int, /) -> None:
            if number in _DEADLY and signal.getsignal(number) == signal.SIG_DFL and self._pid == os.getpid():
                _deliver_at_last(lambda: self._finish_pipeline(self._budget, self._longest))
            raise_signal(number)

        signal.raise_signal = wrapper

    def finish(self) -> None:
        """Deliver everything within the exit budget, for all signals together."""
        if self._pid != os.getpid():
            # A child that dies before its life began holds only its parent's telemetry.
            return
        deadline = time.monotonic() + self._budget
        self._finish_pipeline(self._budget, self._longest)
        # Exporters that are not ours (console, gRPC, a processor the application added) have their own ends.
        done = run_in_thread("the shutdown of the providers", self._shut_down_providers)
        done.acquire(True, max(0.0, deadline - time.monotonic()) + 0.01)

    @property
    def _has_work(self) -> bool:
        return self._pid == os.getpid() and not self._pipeline.idle

    def _vanish(self) -> None:
        if self._has_work:
            self._finish_pipeline(min(ABRUPT_EXIT_TIMEOUT_S, self._budget))

    def _flush_pipeline(self) -> None:
        if self._has_work:
            self._pipeline.flush(min(ABRUPT_EXIT_TIMEOUT_S, self._budget))

    def _finish_pipeline(self, budget: float, longest: float = 0.0) -> None:
        for callback in before_end:
            with guard("what is told at the end of the process"):
                callback()
        self._pipeline.finish(budget, longest)

    def _shut_down_providers(self) -> None:
        for provider in self._providers:
            with guard("the shutdown of a provider"):
                provider.shutdown()

    def _in_child(self) -> None:
        with guard("telemetry after a fork"):
            sdk.forget_measurements(self._meter)
            self._renew_instance()
            self._pipeline.reset_after_fork(lambda: sdk.has_measurements(self._meter))
            self._pid = os.getpid()
            for callback in self.after_fork:
                callback()

    def _renew_instance(self) -> None:
        """Keep an instance id that the user chose recognisable; the SDK puts a random one in its place."""
        chosen = chosen_instance_id(os.environ)
        if chosen:
            from opentelemetry.sdk.resources import Resource

            own = Resource({schema.SERVICE_INSTANCE_ID.name: f"{chosen}-{os.getpid()}"})
            sdk.merge_resource(self._providers, own)


def chosen_instance_id(environ: Mapping[str, str]) -> str:
    """Return the ``service.instance.id`` of ``OTEL_RESOURCE_ATTRIBUTES``, empty where the user set none."""
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == schema.SERVICE_INSTANCE_ID.name:
            return value.strip()
    return ""
