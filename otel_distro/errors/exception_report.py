"""Turn an exception into attributes, a step of the counter, and an event.

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
from otel_distro._otel import sdk
from otel_distro._otel.fast_measurements import is_clean
from otel_distro._otel.sdk import SeverityNumber, get_logger, get_logger_provider
from otel_distro._runtime.diagnostics import guard, text_of
from otel_distro._version import __version__
from otel_distro.errors import answers, exception_state, first_seen, frames
from otel_distro.errors.lost_clients import is_lost_client
from otel_distro.errors.stack_trace import stack_trace
from otel_distro.export.log_entry import EventEntry
from otel_distro.export.processors import QueueLogRecordProcessor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AnyValue

SCOPE: Final = "otel_distro.error_tracking"
OTHER: Final = "other"
"""Fingerprint on the counter beyond the limit of distinct fingerprints."""
_TYPE, _MESSAGE, _STACK = schema.EXCEPTION_TYPE.name, schema.EXCEPTION_MESSAGE.name, schema.EXCEPTION_STACKTRACE.name
_HANDLER, _HANDLED = schema.EXCEPTION_HANDLER.name, schema.EXCEPTION_HANDLED.name
_FINGERPRINT, _FUNCTION = schema.EXCEPTION_FINGERPRINT.name, schema.CODE_FUNCTION_NAME.name
_CAUGHT_IN = schema.EXCEPTION_CAUGHT_IN.name
_THREAD_ID, _THREAD_NAME = schema.THREAD_ID.name, schema.THREAD_NAME.name
_SEVERITIES: Final = {level: SeverityNumber[level] for level in ("FATAL", "ERROR", "WARN", "INFO")}
_ANSWER: Final = schema.EXCEPTION_ANSWER.name
_MAX_FINGERPRINTS: Final = 200
_FINAL_HANDLERS: Final = frozenset({"main", "thread", "asyncio", "unraisable", "process", "executor"})
"""Handlers after which no code handles an exception any more."""
_DETACHED_HANDLERS: Final = frozenset({"asyncio", "executor", "process"})
"""Handlers that run outside of the failed code: the current span may belong to other work."""

_steps: dict[tuple[Any, ...], tuple[dict[str, Any], int]] = {}
"""Counts of :func:`send_later` that wait: labels and number, by the values of the labels."""
_counted: set[str] = set()
"""Fingerprints that are labels of the counter already."""


class Report:
    """An event to send. It holds no reference to the exception."""

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
    """Return the attributes of an exception, and count it unless it was reported before.

    An exception that is no error is not counted.

    For callers that put the attributes on a record of their own; :func:`record` makes one.
    Never raises: on failure the attributes hold at least the class.

    Args:
        error: The exception.
        handler: What saw it, a value of ``python.exception.handler``.
        handled: Whether code of the application caught it.
    """
    attributes: dict[str, AnyValue] = {schema.EXCEPTION_TYPE.name: type(error).__qualname__}
    with guard("describing an exception"):
        attributes = attributes_of(error, handler=handler, handled=handled)
        if _ANSWER not in attributes and exception_state.claim(error, final=handler in _FINAL_HANDLERS):
            count(attributes)
    return attributes


def is_answer(error: BaseException) -> bool:
    """Return whether ``error`` is a response below 500, a normal end or the like. Never raises."""
    if answers.kind_of(error) in ("", "iteration"):
        return False
    state = exception_state.lookup(error)
    return state is None or not state.is_failure


def record(
    error: BaseException, handler: str, *, handled: bool = False, more: dict[str, AnyValue] | None = None
) -> None:
    """Send ``error`` as an event and count it, unless it was reported before. Never raises.

    ``more``: further attributes.
    """
    with guard("recording an exception"):
        report = claim(error, handler, handled=handled, more=more)
        if report is not None:
            send(report)


def claim(
    error: BaseException, handler: str, *, handled: bool = False, more: dict[str, AnyValue] | None = None
) -> Report | None:
    """Mark ``error`` as reported and return its report.

    None if it was reported before, or if no code has caught it and a client has caused it.

    Takes no lock of the SDK, so it may run in a finalizer.
    """
    final = handler in _FINAL_HANDLERS
    if final and is_lost_client(error):
        # uWSGI prints these with sys.excepthook.
        return None
    if not exception_state.claim(error, final=final):
        return None
    return build_report(error, handler, handled=handled, more=more)


def build_report(
    error: BaseException, handler: str, *, handled: bool, more: dict[str, AnyValue] | None = None
) -> Report:
    """Return the report of ``error``, whether it was reported before or not."""
    entries = frames.traceback_entries(error.__traceback__)
    path = frames.path_of(entries)
    attributes = attributes_of(error, entries, path, handler=handler, handled=handled)
    attributes[_FUNCTION] = frames.raising_function(entries, path)
    if more:
        attributes.update(more)
    name, message = str(attributes[_TYPE]), str(attributes[_MESSAGE])
    span = exception_state.span_of(error)
    if span is None and handler not in _DETACHED_HANDLERS:
        span = current_span()
    level = "FATAL" if handler == "main" else "WARN" if handler == "swallowed" else "ERROR"
    return Report(attributes, f"{name}: {message}" if message else name, level, span, schema.EXCEPTION)


def current_span() -> SpanContext | None:
    """Return the context of the span that is active in this thread and task."""
    current = get_current_span()
    return None if current is INVALID_SPAN else current.get_span_context()


def send(report: Report) -> None:
    """Count the exception of a report, and emit it as an event in its span."""
    count(report.attributes)
    emit(report)


def send_later(report: Report) -> None:
    """Do the same as :func:`send`; the next :func:`add_counts` adds to the counter.

    Exceptions come in bursts, and one step of the counter for equal ones is cheaper.
    """
    labels = _mark_new(report.attributes)
    key = tuple(labels.values())
    known = _steps.get(key)
    _steps[key] = (labels, 1 if known is None else known[1] + 1)
    emit(report)


def add_counts() -> None:
    """Add the exceptions of :func:`send_later` to the counter. Called by one thread at a time."""
    while _steps:
        labels, step = _steps.popitem()[1]
        _instruments().all.add(step, labels)


def emit(report: Report) -> None:
    """Emit a report as an event: into the queue itself where no other processor would see it."""
    logger: Any = _instruments().logger
    severity = _SEVERITIES.get(report.level) or SeverityNumber[report.level]
    path = _queue_of(logger, report.attributes)
    if path is not None:
        put, resource = path
        span = get_current_span().get_span_context() if report.span is None else report.span
        put(
            EventEntry(
                report.timestamp,
                time.time_ns(),
                span.trace_id,
                span.span_id,
                span.trace_flags,
                severity,
                report.level,
                report.body,
                report.attributes,
                report.event.name,
                resource,
                logger.instrumentation_scope,
            )
        )
        return
    context = None if report.span is None else set_span_in_context(NonRecordingSpan(report.span))
    logger.emit(
        timestamp=report.timestamp,
        context=context,
        event_name=report.event.name,
        severity_number=severity,
        severity_text=report.level,
        body=report.body,
        attributes=report.attributes,
    )


def _queue_of(logger: Any, attributes: dict[str, AnyValue]) -> tuple[Callable[[Any], None], Any] | None:
    """Return the queue's ``put`` and the resource, or None where the SDK must emit the event.

    The SDK must where another processor was added, the logger is disabled, a limit applies, or a
    value has to be cleaned.
    """
    if type(logger) is not sdk.Logger:
        return None
    processors, config, resource = sdk.LOGGER_FIELDS(logger)
    if len(processors) != 1 or type(processors[0]) is not QueueLogRecordProcessor or not config.is_enabled:
        return None
    most, longest = sdk.logger_limits(logger)
    if longest is not None or (most is not None and len(attributes) > most) or not is_clean(attributes):
        return None
    return processors[0].put, resource


def attributes_of(
    error: BaseException,
    entries: list[TracebackType] | None = None,
    path: frames.TracePath | None = None,
    *,
    handler: str,
    handled: bool,
) -> dict[str, AnyValue]:
    """Return the attributes that every record of an exception has.

    ``entries``: those of its traceback; ``path``: theirs.
    """
    if entries is None:
        entries = frames.traceback_entries(error.__traceback__)
    if path is None:
        path = frames.path_of(entries)
    # An excepthook of the application that logs the exception has not handled it.
    handled = handled and getattr(sys, "last_value", None) is not error
    name = type_name(type(error))
    thread = threading.current_thread()
    attributes: dict[str, AnyValue] = {
        _TYPE: name,
        _MESSAGE: text_of(error),
        _STACK: stack_trace(error, entries, path),
        _HANDLER: handler,
        _HANDLED: handled,
        _FINGERPRINT: frames.fingerprint(name, error, entries, path),
        _THREAD_ID: thread.ident or 0,
        _THREAD_NAME: thread.name,
    }
    if handler == "log" and is_answer(error):
        attributes[_ANSWER] = True
    if handled and entries:
        attributes[_CAUGHT_IN] = frames.qualified_name(entries[0])
    task = _task_name()
    if task:
        attributes[schema.ASYNCIO_TASK_NAME.name] = task
    if _includes_locals():
        from otel_distro.errors.local_variables import local_variables

        with guard("reading local variables"):
            shown = local_variables(entries)
            if shown:
                attributes[schema.EXCEPTION_LOCALS.name] = shown
    return attributes


@functools.cache
def _includes_locals() -> bool:
    return settings.OTEL_DISTRO_ERROR_LOCALS.get()


def reload_settings() -> None:
    """Read the settings again at the next exception."""
    _includes_locals.cache_clear()


class _Instruments:
    """Logger and counters of the current global providers, cached: looking them up is expensive."""

    def __init__(self) -> None:
        self.providers = (get_logger_provider(), metrics.get_meter_provider())
        self.logger = get_logger(SCOPE, __version__)
        meter = metrics.get_meter(SCOPE, __version__)
        self.all, self.new = (
            meter.create_counter(metric.name, metric.unit, metric.brief)
            for metric in (schema.PYTHON_EXCEPTIONS, schema.PYTHON_EXCEPTION_FIRST_SEEN)
        )


_current: _Instruments | None = None


def _instruments() -> _Instruments:
    global _current
    instruments = _current
    if instruments is None or instruments.providers != (get_logger_provider(), metrics.get_meter_provider()):
        instruments = _current = _Instruments()
    return instruments


def count(attributes: dict[str, AnyValue]) -> None:
    """Count an exception by its attributes, and mark the first of a fingerprint in them."""
    _instruments().all.add(1, _mark_new(attributes))


def _mark_new(attributes: dict[str, AnyValue]) -> dict[str, Any]:
    """Mark and count the first of a fingerprint, and return the attributes of the counter."""
    fingerprint = str(attributes[_FINGERPRINT])
    labels: dict[str, Any] = {_TYPE: attributes[_TYPE], _FINGERPRINT: _counter_label(fingerprint)}
    if first_seen.is_new(fingerprint):
        attributes[schema.EXCEPTION_FIRST_SEEN.name] = True
        _instruments().new.add(1, dict(labels))
    labels[_HANDLED], labels[_HANDLER] = attributes[_HANDLED], attributes[_HANDLER]
    return labels


def _counter_label(fingerprint: str) -> str:
    if fingerprint not in _counted:
        if len(_counted) >= _MAX_FINGERPRINTS:
            return OTHER
        _counted.add(fingerprint)
    return fingerprint


def type_name(kind: type[BaseException]) -> str:
    """Return the name of an exception's class as the semantic conventions define it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def was_recorded(error: BaseException) -> bool:
    """Return whether ``error`` was recorded since it was raised. Never raises."""
    return exception_state.was_reported(error)


def _task_name() -> str:
    asyncio: Any = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)
    if running is None or running() is None:
        return ""
    task = asyncio.current_task()
    return str(task.get_name()) if task is not None else ""
