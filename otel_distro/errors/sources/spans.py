"""Exceptions that are recorded on spans: the event on the span, the span as trace link, and a record where nobody else makes one.

An exception that leaves a span may still be caught, logged or end the program. It is told by whoever sees it then, with the
span it left first as its trace; and as ``span`` when it ends without having been seen by anybody else.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_ESCAPED

from otel_distro import schema
from otel_distro._runtime.diagnostics import report_failure
from otel_distro.errors import deferred, exception_report, exception_state
from otel_distro.errors.frames import entries
from otel_distro.errors.stack_trace import stack_trace

if TYPE_CHECKING:
    from collections.abc import Callable

_SDK = "opentelemetry.sdk.trace"


def recording(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Span.record_exception``."""
    stock = getattr(inspect.unwrap(original), "__module__", "") == _SDK

    def record_exception(
        span: Any, exception: BaseException, attributes: Any = None, timestamp: Any = None, escaped: Any = False
    ) -> Any:
        given = None
        try:
            if isinstance(exception, Exception):
                found = _noted(span, exception)
                if stock:
                    given = {**_event(found, escaped), **(attributes or {})}
        except Exception as error:
            report_failure("an exception on a span", error)
        if given is None:
            return original(span, exception, attributes, timestamp, escaped)
        return span.add_event(schema.EXCEPTION.name, given, timestamp)

    return record_exception


def _noted(span: Any, error: Exception) -> dict[str, Any]:
    """Remember the span on the exception, and return what is known of it."""
    mark = exception_state.get(error)
    if mark.span is None:
        mark.span = span.get_span_context()
    waiting: Any = mark.waiting
    if isinstance(waiting, exception_report.Report) and waiting.attributes[schema.EXCEPTION_HANDLER.name] == "span":
        # It leaves one span after the other.
        return {
            **waiting.attributes,
            schema.EXCEPTION_STACKTRACE.name: stack_trace(error, entries(error.__traceback__)),
        }
    found = exception_report.report_of(error, "span", handled=True)
    if not mark.told:
        deferred.defer(mark, found)
    return found.attributes


def _event(known: dict[str, Any], escaped: object) -> dict[str, Any]:
    names = (schema.EXCEPTION_TYPE.name, schema.EXCEPTION_MESSAGE.name, schema.EXCEPTION_STACKTRACE.name)
    return {**{name: known[name] for name in names}, EXCEPTION_ESCAPED: str(escaped)}
