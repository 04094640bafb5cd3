"""How an exception becomes attributes, a step of the counter, and an event.

Sources: https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/ and
https://opentelemetry.io/docs/specs/semconv/general/events/
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, get_current_span, set_span_in_context

from otel_distro import schema, settings
from otel_distro._otel.sdk import SeverityNumber, get_logger, get_logger_provider
from otel_distro._runtime.diagnostics import guard, text_of
from otel_distro._version import __version__
from otel_distro.errors import exception_state, first_seen, frames
from otel_distro.errors.stack_trace import stack_trace

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AnyValue

SCOPE: Final = "otel_distro.error_tracking"
OTHER: Final = "other"
"""Fingerprint on the counter, once it has shown as many as it may."""
_TYPE, _MESSAGE, _STACK = schema.EXCEPTION_TYPE.name, schema.EXCEPTION_MESSAGE.name, schema.EXCEPTION_STACKTRACE.name
_HANDLER, _HANDLED = schema.EXCEPTION_HANDLER.name, schema.EXCEPTION_HANDLED.name
_FINGERPRINT, _FUNCTION = schema.EXCEPTION_FINGERPRINT.name, schema.CODE_FUNCTION_NAME.name
_MOST_FINGERPRINTS: Final = 200
_FINAL: Final = frozenset({"main", "thread", "asyncio", "unraisable", "process", "executor"})
"""Handlers after whom nobody handles an exception any more."""
_ANYWHERE: Final = frozenset({"asyncio", "executor", "process"})
"""Handlers that are called when the span that is current may be any other."""

_counted: set[str] = set()


class Report:
    """An event that is to be sent, complete: it holds nothing of the exception."""

    __slots__ = ("attributes", "body", "done", "event", "level", "span", "timestamp")

    def __init__(
        self, attributes: dict[str, AnyValue], body: str, level: str, span: SpanContext | None, event: schema.Event
    ) -> None:
        self.attributes = attributes
        self.body = body
        self.level = level
        self.span = span
        self.event = event
        self.timestamp = time.time_ns()
        self.done = False


def describe(error: BaseException, *, handler: str, handled: bool) -> dict[str, AnyValue]:
    """Return everything that is told of an exception, and count it unless that was done since it was raised.

    ``handler``: what saw it, one of the values of ``python.exception.handler``. ``handled``: whether code of the application
    caught it. Never raises; at least the class is in what it returns. It is for those who have a record of their own to
    put the attributes on; :func:`record` makes one.
    """
    attributes: dict[str, AnyValue] = {schema.EXCEPTION_TYPE.name: type(error).__qualname__}
    with guard("describing an exception"):
        attributes = attributes_of(error, handler=handler, handled=handled)
        if exception_state.tell(error, final=handler in _FINAL):
            count(attributes)
    return attributes


def record(
    error: BaseException, handler: str, *, handled: bool = False, more: dict[str, AnyValue] | None = None
) -> None:
    """Send ``error`` as an event and count it, once, however many see it. ``more``: further attributes. Never raises."""
    with guard("recording an exception"):
        report = take(error, handler, handled=handled, more=more)
        if report is not None:
            send(report)


def take(
    error: BaseException, handler: str, *, handled: bool = False, more: dict[str, AnyValue] | None = None
) -> Report | None:
    """Return what is to be sent of ``error``, or None where it was told before. Takes no lock of the SDK."""
    if not exception_state.tell(error, final=handler in _FINAL):
        return None
    return report_of(error, handler, handled=handled, more=more)


def report_of(error: BaseException, handler: str, *, handled: bool, more: dict[str, AnyValue] | None = None) -> Report:
    """Return what is to be sent of ``error``, whether it was told or not."""
    passed = frames.entries(error.__traceback__)
    attributes = attributes_of(error, passed, handler=handler, handled=handled)
    attributes[_FUNCTION] = frames.thrower(passed)
    if more:
        attributes.update(more)
    name, message = str(attributes[_TYPE]), str(attributes[_MESSAGE])
    span = exception_state.span_of(error)
    if span is None and handler not in _ANYWHERE:
        span = current_span()
    level = "FATAL" if handler == "main" else "WARN" if handler == "swallowed" else "ERROR"
    return Report(attributes, f"{name}: {message}" if message else name, level, span, schema.EXCEPTION)


def current_span() -> SpanContext | None:
    """Return the context of the span that is active in this thread and task."""
    current = get_current_span()
    return None if current is INVALID_SPAN else current.get_span_context()


def send(report: Report) -> None:
    """Count what a report tells of, and emit it as an event in its span."""
    count(report.attributes)
    emit(report)


def emit(report: Report) -> None:
    """Emit a report as an event."""
    context = None if report.span is None else set_span_in_context(NonRecordingSpan(report.span))
    _channel().logger.emit(
        timestamp=report.timestamp,
        context=context,
        event_name=report.event.name,
        severity_number=SeverityNumber[report.level],
        severity_text=report.level,
        body=report.body,
        attributes=report.attributes,
    )


def attributes_of(
    error: BaseException, passed: list[TracebackType] | None = None, *, handler: str, handled: bool
) -> dict[str, AnyValue]:
    """Return the attributes that every record of an exception has. ``passed``: the entries of its traceback."""
    if passed is None:
        passed = frames.entries(error.__traceback__)
    # A hook of the application that logs what ends the program has not caught it.
    handled = handled and getattr(sys, "last_value", None) is not error
    name = type_name(type(error))
    thread = threading.current_thread()
    attributes: dict[str, AnyValue] = {
        _TYPE: name,
        _MESSAGE: text_of(error),
        _STACK: stack_trace(error, passed),
        _HANDLER: handler,
        _HANDLED: handled,
        _FINGERPRINT: frames.fingerprint(name, error, passed),
        schema.THREAD_ID.name: thread.ident or 0,
        schema.THREAD_NAME.name: thread.name,
    }
    if handled and passed:
        attributes[schema.EXCEPTION_CAUGHT_IN.name] = frames.place(passed[0])
    task = _task_name()
    if task:
        attributes[schema.ASYNCIO_TASK_NAME.name] = task
    if _with_locals():
        from otel_distro.errors.local_variables import local_variables

        with guard("reading local variables"):
            shown = local_variables(passed)
            if shown:
                attributes[schema.EXCEPTION_LOCALS.name] = shown
    return attributes


@functools.cache
def _with_locals() -> bool:
    return settings.OTEL_DISTRO_ERROR_LOCALS.get()


def reread_settings() -> None:
    """Read the settings anew at the next exception."""
    _with_locals.cache_clear()


class _Channel:
    """The logger and the counters, which are dear to ask for, of the providers that are the global ones now."""

    def __init__(self) -> None:
        self.providers = (get_logger_provider(), metrics.get_meter_provider())
        self.logger = get_logger(SCOPE, __version__)
        meter = metrics.get_meter(SCOPE, __version__)
        self.all, self.new = (
            meter.create_counter(metric.name, metric.unit, metric.brief)
            for metric in (schema.PYTHON_EXCEPTIONS, schema.PYTHON_EXCEPTION_FIRST_SEEN)
        )


_current: _Channel | None = None


def _channel() -> _Channel:
    global _current
    channel = _current
    if channel is None or channel.providers != (get_logger_provider(), metrics.get_meter_provider()):
        channel = _current = _Channel()
    return channel


def count(attributes: dict[str, AnyValue]) -> None:
    """Count an exception of these attributes, and say in them whether it is the first of its kind."""
    fingerprint = str(attributes[_FINGERPRINT])
    labels: dict[str, Any] = {_TYPE: attributes[_TYPE], _FINGERPRINT: _bounded(fingerprint)}
    channel = _channel()
    if first_seen.is_new(fingerprint):
        attributes[schema.EXCEPTION_FIRST_SEEN.name] = True
        channel.new.add(1, dict(labels))
    labels[_HANDLED], labels[_HANDLER] = attributes[_HANDLED], attributes[_HANDLER]
    channel.all.add(1, labels)


def _bounded(fingerprint: str) -> str:
    if fingerprint not in _counted:
        if len(_counted) >= _MOST_FINGERPRINTS:
            return OTHER
        _counted.add(fingerprint)
    return fingerprint


def type_name(kind: type[BaseException]) -> str:
    """Return the name of an exception's class as the semantic conventions have it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def was_recorded(error: BaseException) -> bool:
    """Return whether ``error`` was recorded since it was raised. Never raises."""
    return exception_state.was_told(error)


def _task_name() -> str:
    asyncio: Any = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)
    if running is None or running() is None:
        return ""
    task = asyncio.current_task()
    return str(task.get_name()) if task is not None else ""
