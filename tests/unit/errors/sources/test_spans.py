"""Exceptions on spans: each is reported once, by the last source that sees it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import CancelledError
from types import FunctionType
from typing import TYPE_CHECKING, Any

import click
import pytest
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.exceptions import HTTPException
from werkzeug.exceptions import Forbidden, NotFound, abort

from otel_distro.errors import capture, exception_state
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


def throw(error: BaseException) -> None:
    """Raise an exception."""
    raise error


def leave(tracer: Any, error: BaseException, kind: SpanKind = SpanKind.INTERNAL) -> None:
    """Let an exception leave a span of either kind: of the tracer, and of the context manager."""
    for span in (tracer.start_as_current_span("current", kind=kind), tracer.start_span("own", kind=kind)):
        with pytest.raises(type(error)), span:
            raise error


@pytest.mark.parametrize(
    "error",
    [
        HTTPException(404),
        NotFound(),
        click.exceptions.Exit(0),
        StopIteration(),
        CancelledError(),
        asyncio.CancelledError(),
        GeneratorExit(),
        SystemExit(0),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_span_left_by_an_answer_is_no_error(telemetry: Telemetry, instrumented: object, error: BaseException) -> None:
    """Neither status, nor event, nor record, nor count; the exception remembers the span."""
    leave(telemetry.providers[0].get_tracer("shop"), error)
    current, own = telemetry.spans()
    for span in (current, own):
        assert span.status.status_code is StatusCode.UNSET
        assert span.events == ()
    assert exception_state.span_of(error) in (current.context, own.context)
    assert list(logs(telemetry, 0)) == []
    assert counts(telemetry) == {}


def test_span_left_by_a_response_from_500_on_is_an_error(telemetry: Telemetry, instrumented: object) -> None:
    """The same class, with another status."""
    leave(telemetry.providers[0].get_tracer("shop"), HTTPException(503))
    for span in telemetry.spans():
        assert span.status.status_code is StatusCode.ERROR
        assert [event.name for event in span.events] == ["exception"]


def test_span_left_by_a_failed_exit_has_only_the_status(telemetry: Telemetry, instrumented: object) -> None:
    """A command that exits with a status has failed; that is no exception of its own."""
    leave(telemetry.providers[0].get_tracer("shop"), click.exceptions.Exit(3))
    for span in telemetry.spans():
        assert span.status.status_code is StatusCode.ERROR
        assert span.events == ()
    assert counts(telemetry) == {}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HTTPException(404), SpanKind.CONSUMER),
        (StopIteration(), SpanKind.CONSUMER),
        (StopIteration(), SpanKind.SERVER),
    ],
)
def test_span_of_work_that_an_answer_fails_is_an_error(
    telemetry: Telemetry, instrumented: object, error: Exception, kind: SpanKind
) -> None:
    """A task has no client that would get a 404; no framework answers the end of an iterator."""
    LogRecordsInstrumentor().instrument()
    try:
        with telemetry.providers[0].get_tracer("shop").start_as_current_span("work", kind=kind):
            throw(error)
    except Exception:
        logging.getLogger("shop").exception("failed")
    finally:
        LogRecordsInstrumentor().uninstrument()
    (span,) = telemetry.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]
    assert [value for (_, handler), value in counts(telemetry).items() if handler == "log"] == [1]


def test_span_on_which_the_application_records_an_answer_keeps_it(telemetry: Telemetry, instrumented: object) -> None:
    """The application's own calls are not second-guessed; a record is not made of them."""
    with telemetry.providers[0].get_tracer("shop").start_as_current_span("work") as span:
        try:
            abort(404)
        except NotFound as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, f"NotFound: {error}"))
    (ended,) = telemetry.spans()
    assert ended.status.status_code is StatusCode.ERROR
    assert [event.name for event in ended.events] == ["exception"]
    assert counts(telemetry) == {}


def test_span_that_fails_while_an_answer_is_handled_is_an_error(telemetry: Telemetry, instrumented: object) -> None:
    """A status of another cause stays, whatever exception the application is handling."""
    tracer = telemetry.providers[0].get_tracer("shop")
    set_status(tracer, StatusCode.ERROR)
    try:
        abort(404)
    except NotFound:
        with pytest.raises(RefusedError), tracer.start_as_current_span("fallback"):
            refuse("also missing")
        use_library(tracer)
    assert [span.status.status_code for span in telemetry.spans()] == [StatusCode.ERROR] * 3


def set_status(tracer: Any, *status: Any) -> None:
    """Set the status of a span as the code of a library does."""
    with tracer.start_as_current_span("library") as span:
        span.set_status(*status)


def use_library(tracer: Any) -> None:
    """Call code of an installed package that sets a status without an exception."""
    code = set_status.__code__.replace(co_filename="/usr/lib/site-packages/client.py")
    FunctionType(code, globals())(tracer, Status(StatusCode.ERROR, "503 Unavailable"))


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_record_of_an_answer_stays_as_it_was_logged(telemetry: Telemetry, instrumented: object, level: int) -> None:
    """With level, type and stack trace, marked as no error; it is not counted."""
    LogRecordsInstrumentor().instrument()
    logger = logging.getLogger("shop")
    logger.setLevel(logging.INFO)
    try:
        abort(403)
    except Forbidden as error:
        logger.log(level, "refused", exc_info=error)
    finally:
        logger.setLevel(logging.NOTSET)
        LogRecordsInstrumentor().uninstrument()
    (record,) = logs(telemetry)
    assert (record.body, record.severity_text) == ("refused", logging.getLevelName(level))
    assert record.attributes["exception.type"] == "werkzeug.exceptions.Forbidden"
    assert record.attributes["exception.stacktrace"].startswith("Traceback")
    assert record.attributes["python.exception.answer"] is True
    assert counts(telemetry) == {}


def test_captured_answer_is_recorded_and_counted(telemetry: Telemetry, instrumented: object) -> None:
    """The application says that it is an error."""
    try:
        abort(403)
    except Forbidden as error:
        capture(error)
    (record,) = logs(telemetry)
    assert record.severity_text == "ERROR"
    assert "python.exception.answer" not in record.attributes
    assert counts(telemetry) == {("werkzeug.exceptions.Forbidden", "capture"): 1}


def test_exception_recorded_twice_on_a_span_is_one_event(telemetry: Telemetry, instrumented: object) -> None:
    """It is recorded by hand and leaves the span; an outer span has an event of its own."""
    tracer = telemetry.providers[0].get_tracer("shop")

    def work() -> None:
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner") as span:
            try:
                refuse("twice")
            except RefusedError as error:
                span.record_exception(error, {"shop": "a1"})
                raise

    with pytest.raises(RefusedError):
        work()
    inner, outer = telemetry.spans()
    assert [(event.attributes or {}).get("shop") for event in inner.events] == ["a1"]
    assert len(outer.events) == 1
    assert inner.status.status_code is StatusCode.ERROR
