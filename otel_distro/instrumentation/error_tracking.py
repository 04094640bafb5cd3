"""Exceptions that no code of the application caught, and those that end where nobody sees them.

In the main thread, in threads, in asyncio, in ``__del__`` and other callbacks of the interpreter, in children of
multiprocessing, in futures that nobody reads, on spans. Each becomes one event ``exception`` with its whole stack trace and one
step of the counter ``python.exceptions``; what Python prints of it stays as it is, and hooks of the application and of
other tools go on running. It stands in the place of upstream's ``opentelemetry-instrumentation-exceptions``.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Span

from otel_distro import schema
from otel_distro._otel import patches
from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard
from otel_distro.errors import deferred, first_seen
from otel_distro.errors.exception_report import record, reread_settings, take, type_name, was_recorded
from otel_distro.errors.sources import crashes, futures, shown_warnings, spans, swallowed
from otel_distro.export import lifecycle
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.util.types import AnyValue

__all__ = ["ErrorTrackingInstrumentor", "record", "type_name", "was_recorded"]

_THREADING = "opentelemetry.instrumentation.threading"


class ErrorTrackingInstrumentor(Instrumentor):
    """Entry point ``error_tracking``."""

    def install(self) -> None:
        """Chain in before the hooks that stand: the interpreter's, those of threads, loops, futures, spans and warnings."""
        self.patch(sys, "excepthook", _main_hook)
        sys.excepthook.is_otel_distro = True  # type: ignore[attr-defined]
        self.patch(sys, "unraisablehook", _unraisable_hook)
        self.patch(threading, "excepthook", _thread_hook)
        if patches.SPAN_EXCEPTIONS.on:
            self.patch(Span, "record_exception", spans.recording)
        for module, patch in (
            ("asyncio.base_events", self._patch_asyncio),
            ("concurrent.futures._base", self._patch_futures),
            ("warnings", self._patch_warnings),
        ):
            import_hooks.when_imported(module, patch)
        reread_settings()
        swallowed.start()
        crashes.start()
        _follow_the_process()

    def _uninstrument(self, **kwargs: Any) -> None:
        _leave_the_process()
        crashes.stop()
        swallowed.stop()
        super()._uninstrument(**kwargs)

    # They may be imported only after we were taken out again.

    def _patch_asyncio(self, module: Any) -> None:
        if self._places():
            self.patch(module.BaseEventLoop, "call_exception_handler", _asyncio_hook)

    def _patch_futures(self, module: Any) -> None:
        if self._places():
            self.patch(module.Future, "set_exception", futures.watching)

    def _patch_warnings(self, module: Any) -> None:
        if self._places() and hasattr(module, "_showwarnmsg"):
            self.patch(module, "_showwarnmsg", shown_warnings.showing(module))


_following = {"forks": False}


def _follow_the_process() -> None:
    if _end not in lifecycle.before_end:
        lifecycle.before_end.append(_end)
    if not _following["forks"] and hasattr(os, "register_at_fork"):
        _following["forks"] = True
        os.register_at_fork(after_in_child=_in_child)


def _leave_the_process() -> None:
    if _end in lifecycle.before_end:
        lifecycle.before_end.remove(_end)


def _end() -> None:
    futures.end()
    deferred.end()
    crashes.stop()


def _in_child() -> None:
    first_seen.renew()
    futures.forget()
    crashes.renew()


def record_later(error: BaseException, handler: str, more: dict[str, AnyValue] | None = None) -> None:
    """Record an exception from within a finalizer, or where it may be one."""
    with guard("recording an exception"):
        report = take(error, handler, more=more)
        if report is not None:
            deferred.send(report)


def _main_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def excepthook(kind: type[BaseException], error: BaseException, tb: Any) -> Any:
        if isinstance(error, Exception):
            record(error, "main")
        return original(kind, error, tb)

    return excepthook


def _unraisable_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def unraisablehook(unraisable: Any, /) -> Any:
        if isinstance(unraisable.exc_value, Exception):
            record_later(unraisable.exc_value, "unraisable")
        return original(unraisable)

    return unraisablehook


def _thread_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def excepthook(args: Any) -> Any:
        # Python itself keeps quiet about SystemExit in a thread.
        if isinstance(args.exc_value, Exception):
            with guard("taking our frames out of a traceback"):
                _hide_wrappers(args.exc_traceback)
            record(args.exc_value, "thread")
        return original(args)

    return excepthook


def _hide_wrappers(tb: TracebackType | None) -> None:
    """Take out of a thread's traceback the frames of the instrumentor that wraps ``Thread.run``."""
    while tb is not None:
        while tb.tb_next is not None and tb.tb_next.tb_frame.f_globals.get("__name__") == _THREADING:
            tb.tb_next = tb.tb_next.tb_next
        tb = tb.tb_next


def _asyncio_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def call_exception_handler(loop: Any, context: dict[str, Any]) -> Any:
        error = context.get("exception")
        if isinstance(error, Exception):
            # Tasks call this when they are finalized.
            record_later(error, "asyncio", _task_of(context))
        return original(loop, context)

    return call_exception_handler


def _task_of(context: dict[str, Any]) -> dict[str, AnyValue]:
    task = context.get("task") or context.get("future")
    name = getattr(task, "get_name", None)
    return {schema.ASYNCIO_TASK_NAME.name: str(name())} if name is not None else {}
