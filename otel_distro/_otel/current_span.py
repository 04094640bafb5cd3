"""``start_as_current_span`` as a class, and the current context without detours.

A class with ``__enter__`` and ``__exit__`` costs half of the SDK's generator.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span as AnySpan
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_distro._otel import patches
from otel_distro._otel.sdk import SPAN_KEY
from otel_distro._runtime.diagnostics import guard, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_put = dict.__setitem__


class _Calls:
    """How the current context is read, set and reset."""

    __slots__ = ("attach", "detach", "get")

    def __init__(self) -> None:
        self.get: Callable[[], Any] = contexts.get_current
        self.attach: Callable[[Any], Any] = contexts.attach
        self.detach: Callable[[Any], Any] = contexts.detach


calls = _Calls()
"""The functions of the API, or those of the context variable itself."""


def install() -> None:
    """Replace ``Tracer.start_as_current_span``, and read the context variable directly."""
    patches.FAST_CURRENT_SPAN.install(_replace)
    patches.FAST_CONTEXT.install(_shorten)


def _replace() -> None:
    Tracer.start_as_current_span = functools.wraps(Tracer.start_as_current_span)(_start_as_current_span)  # type: ignore[method-assign, assignment]


def _shorten() -> None:
    runtime: Any = contexts._RUNTIME_CONTEXT
    if type(runtime) is ContextVarsRuntimeContext:
        variable = runtime._current_context
        calls.get, calls.attach, calls.detach = variable.get, variable.set, variable.reset


def _start_as_current_span(
    tracer: Any,
    name: Any,
    context: Any = None,
    kind: Any = SpanKind.INTERNAL,
    attributes: Any = None,
    links: Any = (),
    start_time: Any = None,
    record_exception: bool = True,
    set_status_on_exception: bool = True,
    end_on_exit: bool = True,
) -> _Current:
    arguments = (name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)
    return _Current(tracer, arguments, end_on_exit)


class _Current:
    """Starts a span and makes it current, around a block, a function or a coroutine function."""

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_token", "_tracer")

    def __init__(self, tracer: Any, arguments: tuple[Any, ...], end_on_exit: bool) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._end_on_exit = end_on_exit

    def __enter__(self) -> Any:
        name, context, kind, attributes, links, start_time, record_exception, set_status = self._arguments
        # By name, as the SDK does it: a wrapper of `start_span` may look for them there.
        span = self._span = self._tracer.start_span(
            name=name,
            context=context,
            kind=kind,
            attributes=attributes,
            links=links,
            start_time=start_time,
            record_exception=record_exception,
            set_status_on_exception=set_status,
        )
        current = Context(calls.get())
        _put(current, SPAN_KEY, span)
        self._token = calls.attach(current)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            calls.detach(self._token)
        except Exception:
            # The block has ended in another context. The API's function logs it.
            contexts.detach(self._token)
        span = self._span
        if error is not None and isinstance(error, Exception) and isinstance(span, AnySpan):
            with guard("recording an exception on a span"):
                self._record(span, error)
        if self._end_on_exit:
            span.end()

    def _record(self, span: AnySpan, error: Exception) -> None:
        if not span.is_recording():
            return
        *_, record_exception, set_status = self._arguments
        if record_exception:
            span.record_exception(error)
        if set_status:
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}"))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a span around each call."""
        tracer, arguments, end_on_exit = self._tracer, self._arguments, self._end_on_exit
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with _Current(tracer, arguments, end_on_exit):
                    return await function(*args, **kwargs)

            return call_async

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with _Current(tracer, arguments, end_on_exit):
                return function(*args, **kwargs)

        return call
