"""Hooks of the interpreter, of threads and of event loops for exceptions that no code caught.

Each function wraps a hook: it records the exception and calls the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard
from otel_distro.errors import answers, deferred
from otel_distro.errors.exception_report import claim, is_answer, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.util.types import AnyValue

_THREADING = "opentelemetry.instrumentation.threading"


def record_later(error: BaseException, handler: str, more: dict[str, AnyValue] | None = None) -> None:
    """Record an exception from a hook that may run in a finalizer. Never raises."""
    with guard("recording an exception"):
        report = claim(error, handler, more=more)
        if report is not None:
            deferred.send(report)


def record_unraisable(error: BaseException) -> None:
    """Record an exception that Python can only print. Never raises."""
    if _is_error(error):
        record_later(error, "unraisable")


def _is_error(error: object) -> bool:
    """Return whether an exception that Python prints is an error.

    A response is one here: there is no request that it would answer.
    """
    return isinstance(error, Exception) and answers.kind_of(error) != "control"


def wrap_main_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``sys.excepthook``."""

    def excepthook(kind: type[BaseException], error: BaseException, tb: Any) -> Any:
        if isinstance(error, Exception):
            record(error, "main")
        return original(kind, error, tb)

    return excepthook


def wrap_unraisable_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``sys.unraisablehook``."""

    def unraisablehook(unraisable: Any, /) -> Any:
        if isinstance(unraisable.exc_value, Exception):
            record_unraisable(unraisable.exc_value)
        return original(unraisable)

    return unraisablehook


def wrap_thread_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``threading.excepthook``."""

    def excepthook(args: Any) -> Any:
        # Not SystemExit, which Python itself ignores in threads.
        if _is_error(args.exc_value):
            with guard("removing instrumentation frames from a traceback"):
                _remove_wrapper_frames(args.exc_traceback)
            record(args.exc_value, "thread")
        return original(args)

    return excepthook


def _remove_wrapper_frames(tb: TracebackType | None) -> None:
    """Remove the frames of the instrumentor that wraps ``Thread.run`` from a thread's traceback."""
    while tb is not None:
        while tb.tb_next is not None and tb.tb_next.tb_frame.f_globals.get("__name__") == _THREADING:
            tb.tb_next = tb.tb_next.tb_next
        tb = tb.tb_next


def wrap_loop_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``BaseEventLoop.call_exception_handler``."""

    def call_exception_handler(loop: Any, context: dict[str, Any]) -> Any:
        error = context.get("exception")
        if isinstance(error, Exception) and not is_answer(error):
            # Tasks call the handler from their finalizer.
            record_later(error, "asyncio", _task_attributes(context))
        return original(loop, context)

    return call_exception_handler


def _task_attributes(context: dict[str, Any]) -> dict[str, AnyValue]:
    task = context.get("task") or context.get("future")
    name = getattr(task, "get_name", None)
    return {schema.ASYNCIO_TASK_NAME.name: str(name())} if name is not None else {}
