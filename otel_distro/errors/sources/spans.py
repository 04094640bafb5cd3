"""Exceptions recorded on spans.

Each adds the event to the span, remembers the innermost span on the exception, and defers a report.
An exception that leaves a span may still be logged or end the program: then that is the report,
with the remembered span as its trace. If nothing else reports the exception before it is freed,
the deferred report is sent with the handler ``span``.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_ESCAPED

from otel_distro import schema
from otel_distro._otel.span_events import add_event
from otel_distro._runtime.diagnostics import report_failure
from otel_distro.errors import deferred, exception_report, exception_state
from otel_distro.errors.frames import traceback_entries
from otel_distro.errors.stack_trace import stack_trace

if TYPE_CHECKING:
    from collections.abc import Callable

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
            if isinstance(exception, Exception):
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
