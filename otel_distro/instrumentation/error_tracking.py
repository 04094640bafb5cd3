"""Exceptions that no code of the application caught: in the main thread, in threads, in asyncio.

Each becomes one event ``exception`` with its whole stack trace and one step of the counter ``python.exceptions``; what
Python prints of it stays as it is, and hooks of the application and of other tools go on running. It stands in the place
of upstream's ``opentelemetry-instrumentation-exceptions``.

Sources: https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/ and
https://opentelemetry.io/docs/specs/semconv/general/events/
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from otel_distro import _hooks, schema
from otel_distro._guard import guard
from otel_distro._upstream import SeverityNumber, get_logger
from otel_distro._version import __version__
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.util.types import AnyValue

_SCOPE = "otel_distro.error_tracking"
_THREADING = "opentelemetry.instrumentation.threading"

_MARK = "__otel_distro_recorded__"
"""In the ``__dict__`` of a recorded exception: the identity of its traceback, so that raised anew it counts anew.

A list of ours would keep the exceptions alive, and with them everything their frames hold.
"""


def record(error: BaseException, handler: str) -> None:
    """Emit ``error`` once, however many hooks see it. ``handler``: main, thread or asyncio. Never raises."""
    with guard("recording an exception"):
        if _seen_before(error):
            return
        kind = type(error)
        name = type_name(kind)
        message = text_of(error)
        thread = threading.current_thread()
        attributes: dict[str, AnyValue] = {
            schema.EXCEPTION_TYPE.name: name,
            schema.EXCEPTION_MESSAGE.name: message,
            schema.EXCEPTION_STACKTRACE.name: "".join(traceback.format_exception(kind, error, error.__traceback__)),
            schema.EXCEPTION_HANDLER.name: handler,
            schema.THREAD_ID.name: thread.ident or 0,
            schema.THREAD_NAME.name: thread.name,
        }
        get_logger(_SCOPE, __version__).emit(
            event_name=schema.EXCEPTION.name,
            severity_number=SeverityNumber.FATAL if handler == "main" else SeverityNumber.ERROR,
            severity_text="FATAL" if handler == "main" else "ERROR",
            body=f"{name}: {message}" if message else name,
            attributes=attributes,
        )
        counter = schema.PYTHON_EXCEPTIONS
        metrics.get_meter(_SCOPE, __version__).create_counter(counter.name, counter.unit, counter.brief).add(
            1, {schema.EXCEPTION_TYPE.name: name, schema.EXCEPTION_HANDLER.name: handler}
        )


def type_name(kind: type[BaseException]) -> str:
    """Return the name of an exception's class as the semantic conventions have it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def text_of(value: object) -> str:
    """Return ``str(value)``, or a word in its place where that raises."""
    try:
        return str(value)
    except Exception:
        return "<unprintable>"


def was_recorded(error: BaseException) -> bool:
    """Return whether ``error`` was recorded since it was raised."""
    return vars(error).get(_MARK) == id(error.__traceback__)


def _seen_before(error: BaseException) -> bool:
    if was_recorded(error):
        return True
    vars(error)[_MARK] = id(error.__traceback__)
    return False


class ErrorTrackingInstrumentor(Instrumentor):
    """Entry point ``error_tracking``."""

    def install(self) -> None:
        """Chain in before the hooks that stand: ``sys``, ``threading`` and every asyncio loop's exception handler."""
        self.patch(sys, "excepthook", _main_hook)
        sys.excepthook.is_otel_distro = True  # type: ignore[attr-defined]
        self.patch(threading, "excepthook", _thread_hook)
        _hooks.when_imported("asyncio.base_events", self._patch_asyncio)

    def _patch_asyncio(self, module: Any) -> None:
        if self._places():
            # It may be imported only after we were taken out again.
            self.patch(module.BaseEventLoop, "call_exception_handler", _asyncio_hook)


def _main_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def excepthook(kind: type[BaseException], error: BaseException, tb: Any) -> Any:
        if isinstance(error, Exception):
            record(error, "main")
        return original(kind, error, tb)

    return excepthook


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
            record(error, "asyncio")
        return original(loop, context)

    return call_exception_handler
