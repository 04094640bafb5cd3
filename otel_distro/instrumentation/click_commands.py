"""Commands of click, typer and asyncclick: a span each, which is not the parent of what they do.

A command may serve requests or work off a queue for weeks. If its span was current, everything in
it would be one trace that ends with the process, and each request a child of the command. So the
span is made when the command ends, and each piece of work is its own trace. Inside of another span
(a test, a job that calls a command) the command and its work are both part of that trace.

A command that serves has no span: its duration, the life of a process, would be an outlier beside
those of the commands that do something and end. It is one of the servers of
``_startup/commands.py``, or one in whose process HTTP requests were measured.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import SpanKind, StatusCode

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard, text_of
from otel_distro._startup import commands
from otel_distro._version import __version__
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_ENDED_BY_USER = ("Abort", "KeyboardInterrupt", "CancelledError", "Cancelled", "EOFError", "GeneratorExit")
"""Classes of exceptions with which a command ends because it is asked to: click exits with 1."""


class ClickInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``click``; typer has a copy of click of its own."""

    modules: tuple[str, ...] = ("click.core", "typer._click.core")
    asynchronous = False
    tracer: trace.Tracer

    def install(self) -> None:
        """Patch ``Command.invoke`` in each of the modules, also where it is imported later."""
        for module in self.modules:
            if module in sys.modules:
                self._patch_module(sys.modules[module])
            else:
                import_hooks.when_imported(module, self._patch_later)

    def _patch_later(self, module: Any) -> None:
        with guard("instrumenting commands"):
            if self.is_instrumented_by_opentelemetry:
                self._patch_module(module)

    def _patch_module(self, module: Any) -> None:
        if all(owner is not module.Command for owner, *_ in self._patches()):
            self.patch(module.Command, "invoke", (_record_async if self.asynchronous else _record)(self.tracer))

    def _instrument(self, **kwargs: Any) -> None:
        self.tracer = trace.get_tracer("otel_distro.commands", __version__, kwargs.get("tracer_provider"))
        super()._instrument(**kwargs)


class AsyncClickInstrumentor(ClickInstrumentor):
    """Replaces upstream's entry point ``asyncclick``."""

    # Otherwise it would be the instance of the other class, if that one was made first.
    _instance = None
    modules = ("asyncclick.core",)
    asynchronous = True


class _Run:
    """A command that runs."""

    def __init__(self, tracer: trace.Tracer, name: str) -> None:
        self._tracer = tracer
        self._name = name
        self._parent = get_current()
        self._pid = os.getpid()
        self._begin = time.time_ns()
        self._arguments = [str(each) for each in getattr(sys, "argv", ())]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with guard("recording a command"):
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Make the span, in the process that has begun the command."""
        if os.getpid() != self._pid or _has_served():
            return
        code = _exit_code(error)
        span = self._tracer.start_span(
            self._name,
            self._parent,
            SpanKind.INTERNAL,
            {
                schema.PROCESS_COMMAND_ARGS.name: self._arguments,
                schema.PROCESS_EXECUTABLE_NAME.name: self._arguments[0] if self._arguments else "",
                schema.PROCESS_EXIT_CODE.name: code,
                schema.PROCESS_PID.name: self._pid,
            },
            start_time=self._begin,
        )
        if error is not None and code and type(error).__name__ not in _ENDED_BY_USER:
            span.set_attribute(schema.ERROR_TYPE.name, type(error).__qualname__)
            span.set_status(StatusCode.ERROR, None if _exits(error) else text_of(error))
            if not _is_shown(error):
                span.record_exception(error)
        span.end()


def _run(tracer: trace.Tracer, command: Any, context: Any) -> AbstractContextManager[object]:
    """Return what records this call of a command, or nothing for a group that runs a subcommand."""
    with guard("beginning a command"):
        if is_instrumentation_enabled() and not commands.is_left_out(command, context):
            return _Run(tracer, str(context.info_name or command.name or "command"))
    return nullcontext()


def _record(tracer: trace.Tracer) -> Callable[..., Any]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def invoke(command: Any, ctx: Any) -> Any:
            with _run(tracer, command, ctx):
                return original(command, ctx)

        return invoke

    return wrap


def _record_async(tracer: trace.Tracer) -> Callable[..., Any]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def invoke(command: Any, ctx: Any) -> Any:
            with _run(tracer, command, ctx):
                return await original(command, ctx)

        return invoke

    return wrap


def _has_served() -> bool:
    return sdk.has_recorded(schema.HTTP_SERVER_DURATION.name, "http.server.duration")


def _exit_code(error: BaseException | None) -> int:
    """Return the exit status that click makes of an exception of a command."""
    if error is None:
        return 0
    code = getattr(error, "code" if isinstance(error, SystemExit) else "exit_code", 1)
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


def _exits(error: BaseException) -> bool:
    """Return whether the exception has an exit status and no message."""
    return isinstance(error, SystemExit) or type(error).__name__ == "Exit"


def _is_shown(error: BaseException) -> bool:
    """Return whether click ends the program without a traceback: exits, usage errors."""
    if isinstance(error, SystemExit) or hasattr(error, "exit_code"):
        return True
    return isinstance(error, OSError) and error.errno == errno.EPIPE
