"""Exceptions recorded on spans.

Each adds the event to the span, remembers the innermost span on the exception, and defers a report.
An exception that leaves a span may still be logged or end the program: then that is the report,
with the remembered span as its trace. If nothing else reports the exception before it is freed,
the deferred report is sent with the handler ``span``.

An exception that is no error leaves neither an event nor the status ERROR, unless the application's
own code sets them.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_ESCAPED
from opentelemetry.trace import SpanKind, StatusCode

from otel_distro import schema
from otel_distro._otel.span_events import add_event
from otel_distro._runtime.diagnostics import guard, report_failure, text_of
from otel_distro.errors import answers, deferred, exception_report, exception_state
from otel_distro.errors.frames import app_file_name, traceback_entries
from otel_distro.errors.stack_trace import stack_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_SDK = "opentelemetry.sdk.trace"
_TYPE, _MESSAGE, _STACK = schema.EXCEPTION_TYPE.name, schema.EXCEPTION_MESSAGE.name, schema.EXCEPTION_STACKTRACE.name


def wrap_record_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``Span.record_exception``."""
    is_sdk = getattr(inspect.unwrap(original), "__module__", "") == _SDK

    def record_exception(
        span: Any, exception: BaseException, attributes: Any = None, timestamp: Any = None, escaped: Any = False
    ) -> Any:
        given = None
        try:
            kind = answers.kind_of(exception)
            if kind and _answered(span, exception, kind):
                if not app_file_name(sys._getframe(1).f_code.co_filename):
                    return None
            elif isinstance(exception, Exception):
                if _is_repeated(span, exception) and not app_file_name(sys._getframe(1).f_code.co_filename):
                    return None
                known = _remember_span(span, exception)
                if is_sdk:
                    given = _event_attributes(known, escaped)
                    if attributes:
                        given.update(attributes)
        except Exception as error:
            report_failure("an exception on a span", error)
        if given is None:
            return original(span, exception, attributes, timestamp, escaped)
        return add_event(span, schema.EXCEPTION.name, given, timestamp)

    return record_exception


def wrap_set_status(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``Span.set_status``."""
    error = StatusCode.ERROR

    def set_status(span: Any, status: Any, description: Any = None) -> Any:
        if status is error or getattr(status, "status_code", None) is error:
            exception = sys.exc_info()[1]
            if exception is not None:
                with guard("the status of a span"):
                    text = description if status is error else status.description
                    if _is_about(exception, text) and _is_answer_to(span, exception, sys._getframe(1)):
                        return None
        return original(span, status, description)

    return set_status


def _is_about(exception: BaseException, description: object) -> bool:
    """Return whether a status is set for an exception that is no error.

    One without the text of the exception has another cause, such as the response to a client.
    """
    if not answers.kind_of(exception) or answers.exits_with_failure(exception):
        return False
    text = text_of(exception)
    return description in (text, f"{type(exception).__name__}: {text}")


def _is_answer_to(span: Any, exception: BaseException, caller: FrameType) -> bool:
    """Return whether a library, and not the application, sets the status, and may leave it out."""
    return not app_file_name(caller.f_code.co_filename) and _answered(span, exception, answers.kind_of(exception))


def _answered(span: Any, error: BaseException, kind: answers.Kind) -> bool:
    """Return whether an exception of this kind is no error where it leaves ``span``."""
    end = span.kind
    if kind == "response":
        # A task has no client that would get the response.
        answered = end is not SpanKind.CONSUMER
    else:
        answered = kind == "control" or end not in (SpanKind.SERVER, SpanKind.CONSUMER)
    if answered:
        exception_state.remember_span(error, span.get_span_context())
    else:
        exception_state.get_or_create(error).is_failure = True
    return answered


def _is_repeated(span: Any, error: Exception) -> bool:
    """Return whether the span has an event of this exception, and note that it gets one.

    Instrumentations record an exception that then leaves their span, which records it too.
    """
    state = exception_state.get_or_create(error)
    span_id = span.get_span_context().span_id
    if state.event_span == span_id:
        return True
    state.event_span = span_id
    return False


def _remember_span(span: Any, error: Exception) -> dict[str, Any]:
    """Set the span in the state of the exception, defer a report, and return its attributes."""
    state = exception_state.get_or_create(error)
    if state.span is None:
        state.span = span.get_span_context()
    pending: Any = state.pending
    if isinstance(pending, exception_report.Report) and pending.attributes[schema.EXCEPTION_HANDLER.name] == "span":
        # It has left an inner span before; only the stack trace has grown.
        return {
            **pending.attributes,
            schema.EXCEPTION_STACKTRACE.name: stack_trace(error, traceback_entries(error.__traceback__)),
        }
    report = exception_report.build_report(error, "span", handled=True)
    if not state.reported:
        deferred.defer(state, report)
    return report.attributes


def _event_attributes(known: dict[str, Any], escaped: object) -> dict[str, Any]:
    return {
        _TYPE: known[_TYPE],
        _MESSAGE: known[_MESSAGE],
        _STACK: known[_STACK],
        EXCEPTION_ESCAPED: "False" if escaped is False else str(escaped),
    }
