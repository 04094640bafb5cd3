"""Exceptions on spans: each is reported once, by the last source that sees it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.failing import RefusedError, counts, logs, uncaught

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry

REFUSED = f"{RefusedError.__module__}.RefusedError"


def refuse(message: str) -> None:
    """Raise the exception of the application."""
    raise RefusedError(message)


def test_span_exception_uncaught_later_is_one_event(telemetry: Telemetry, instrumented: object) -> None:
    """An exception that leaves two spans and ends the thread is one event of the inner span."""
    tracer = telemetry.providers[0].get_tracer("shop")

    def work() -> None:
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            raise RefusedError("in spans")

    try:
        work()
    except RefusedError as error:
        uncaught(error)
    (record,) = logs(telemetry)
    inner, outer = telemetry.spans()
    assert record.span_id == inner.context.span_id
    assert record.attributes["python.exception.handler"] == "main"
    for span in (inner, outer):
        (event,) = span.events
        assert set(event.attributes or {}) == {
            "exception.type",
            "exception.message",
            "exception.stacktrace",
            "exception.escaped",
        }
        assert str((event.attributes or {})["exception.stacktrace"]).startswith("Traceback")
    assert counts(telemetry) == {(REFUSED, "main"): 1}


def test_span_exception_caught_outside_is_reported_when_freed(telemetry: Telemetry, instrumented: object) -> None:
    """An exception that no other source reports is reported when it is freed, in its span."""
    tracer = telemetry.providers[0].get_tracer("shop")
    try:
        with tracer.start_as_current_span("work"):
            refuse("caught")
    except RefusedError:
        assert list(telemetry.logs()) == []
    (record,) = logs(telemetry)
    assert record.span_id == telemetry.spans()[0].context.span_id
    assert (record.attributes["python.exception.handler"], record.attributes["python.exception.handled"]) == (
        "span",
        True,
    )


def test_span_exception_logged_later_is_one_record(telemetry: Telemetry, instrumented: object) -> None:
    """The log line of the application is the record; there is no second one."""
    tracer = telemetry.providers[0].get_tracer("shop")
    LogRecordsInstrumentor().instrument()
    try:
        try:
            with tracer.start_as_current_span("work"):
                refuse("caught")
        except RefusedError:
            logging.getLogger("shop").exception("failed")
    finally:
        LogRecordsInstrumentor().uninstrument()
    (record,) = logs(telemetry)
    assert record.body == "failed"
    assert counts(telemetry) == {(REFUSED, "log"): 1}
