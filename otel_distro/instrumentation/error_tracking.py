"""Record exceptions that no code of the application caught, and those that end unseen.

Sources: the main thread, threads, asyncio, ``__del__`` and other callbacks of the interpreter,
children of multiprocessing, futures that are never read, spans, and warnings. Each exception
becomes one event ``exception`` with its stack trace and one step of the counter
``python.exceptions``. What Python prints stays as it is, and hooks of the application and of other
tools are still called. Replaces upstream's ``opentelemetry-instrumentation-exceptions``.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from opentelemetry.sdk.trace import Span

from otel_distro._otel import patches
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import fork, import_hooks
from otel_distro.errors import deferred, first_seen
from otel_distro.errors.exception_report import reload_settings
from otel_distro.errors.sources import crashes, futures, hooks, shown_warnings, spans, swallowed
from otel_distro.instrumentation import Instrumentor

__all__ = ["ErrorTrackingInstrumentor"]

_NAME = "error tracking"


class ErrorTrackingInstrumentor(Instrumentor):
    """Entry point ``error_tracking``."""

    def install(self) -> None:
        """Wrap the hooks of the interpreter, threads, event loops, futures, spans and warnings."""
        self.patch(sys, "excepthook", hooks.wrap_main_hook)
        sys.excepthook.is_otel_distro = True  # type: ignore[attr-defined]
        self.patch(sys, "unraisablehook", hooks.wrap_unraisable_hook)
        self.patch(threading, "excepthook", hooks.wrap_thread_hook)
        if patches.SPAN_EXCEPTIONS.on:
            self.patch(Span, "record_exception", spans.wrap_record_exception)
            self.patch(Span, "set_status", spans.wrap_set_status)
        for module, patch in (
            ("asyncio.base_events", self._patch_asyncio),
            ("concurrent.futures._base", self._patch_futures),
            ("warnings", self._patch_warnings),
        ):
            import_hooks.when_imported(module, patch)
        reload_settings()
        swallowed.start()
        crashes.start()
        _follow_the_process()

    def _uninstrument(self, **kwargs: Any) -> None:
        _leave_the_process()
        crashes.stop()
        swallowed.stop()
        super()._uninstrument(**kwargs)

    # These modules may be imported after the instrumentor was uninstalled.

    def _patch_asyncio(self, module: Any) -> None:
        if self._patches():
            self.patch(module.BaseEventLoop, "call_exception_handler", hooks.wrap_loop_handler)

    def _patch_futures(self, module: Any) -> None:
        if self._patches():
            self.patch(module.Future, "set_exception", futures.wrap_set_exception)

    def _patch_warnings(self, module: Any) -> None:
        if self._patches() and hasattr(module, "_showwarnmsg"):
            self.patch(module, "_showwarnmsg", shown_warnings.wrap_showwarnmsg(module))


def _follow_the_process() -> None:
    process_exit.register(_NAME, process_exit.Order.ERROR_TRACKING, before_end=_end)
    fork.register(_NAME, fork.Order.ERROR_TRACKING, after_in_child=reset_after_fork)


def _leave_the_process() -> None:
    process_exit.unregister(_NAME)
    fork.unregister(_NAME)


def _end() -> None:
    futures.report_unretrieved()
    deferred.flush()
    crashes.stop()


def reset_after_fork() -> None:
    """Reset the sources in a forked child."""
    first_seen.reset_after_fork()
    futures.reset_after_fork()
    crashes.reset_after_fork()
