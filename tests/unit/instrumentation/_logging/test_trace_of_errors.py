"""A record of an exception, made without an active span, has the trace that the exception left."""

from __future__ import annotations

import builtins
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import loguru
import pytest
import structlog
from opentelemetry import trace

from otel_distro.errors import exception_state
from otel_distro.instrumentation._logging import deduplicate
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from otel_distro.instrumentation.loguru_records import LoguruRecordsInstrumentor
from otel_distro.instrumentation.structlog_records import StructlogRecordsInstrumentor
from tests.support.failing import RefusedError, raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0xB7AD6B7169203331


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Install the instrumentors of all three libraries."""
    instrumentors = (LogRecordsInstrumentor(), LoguruRecordsInstrumentor(), StructlogRecordsInstrumentor())
    for each in instrumentors:
        each.instrument()
    loguru.logger.remove()
    loguru.logger.add(lambda _: None)
    yield
    loguru.logger.remove()
    loguru.logger.add(sys.stderr)
    structlog.reset_defaults()
    for each in instrumentors:
        each.uninstrument()


def failure() -> BaseException:
    """Return an exception that has left the span of a request."""
    error = raised(RefusedError("no"))
    exception_state.remember_span(error, trace.SpanContext(TRACE, SPAN, is_remote=False))
    return error


def chained() -> BaseException:
    """Return an exception with such an exception as its cause."""
    outer = RuntimeError("outer")
    outer.__cause__ = failure()
    return raised(outer)


def grouped() -> BaseException:
    """Return a group that has such an exception in a group."""
    group: Any = getattr(builtins, "ExceptionGroup", None) or import_module("exceptiongroup").ExceptionGroup
    return raised(group("task group", [ValueError(), group("inner", [failure()])]))


def by_logging(error: BaseException) -> None:
    """Log as uvicorn and aiohttp do."""
    logging.getLogger("made.server").error("failed", exc_info=error)


def by_logging_while_handled(error: BaseException) -> None:
    """Log as Werkzeug's server does: the traceback is in the message only."""
    try:
        raise error  # noqa: TRY301 - the exception is handled here
    except BaseException:
        logging.getLogger("made.server").error("failed")  # noqa: TRY400 - without exc_info on purpose


def by_loguru(error: BaseException) -> None:
    """Log by loguru."""
    loguru.logger.opt(exception=error).error("failed")


def by_structlog(error: BaseException) -> None:
    """Log by structlog, which prints."""
    structlog.get_logger().error("failed", exc_info=error)


def by_structlog_and_logging(error: BaseException) -> None:
    """Log by structlog through logging."""
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs], logger_factory=structlog.stdlib.LoggerFactory()
    )
    structlog.get_logger("made.server").error("failed", exc_info=error)


WAYS = [by_logging, by_logging_while_handled, by_loguru, by_structlog, by_structlog_and_logging]


@pytest.mark.parametrize("log", WAYS)
@pytest.mark.parametrize("make", [failure, chained, grouped])
def test_record_of_a_failed_request_has_its_span(
    telemetry: Telemetry, log: Callable[[BaseException], None], make: Callable[[], BaseException]
) -> None:
    """The exception itself, one that it caused, and a group that holds it."""
    log(make())
    (found,) = telemetry.logs()
    assert (found.log_record.trace_id, found.log_record.span_id) == (TRACE, SPAN)


@pytest.mark.parametrize("log", WAYS)
def test_record_in_an_active_span_has_that_span(telemetry: Telemetry, log: Callable[[BaseException], None]) -> None:
    """The code that handles the exception belongs to the span around it."""
    with telemetry.providers[0].get_tracer("shop").start_as_current_span("job") as span:
        log(failure())
    assert telemetry.logs()[0].log_record.span_id == span.get_span_context().span_id


@pytest.mark.parametrize("log", WAYS)
def test_record_in_the_context_of_an_ended_span_has_the_span_of_its_error(
    telemetry: Telemetry, log: Callable[[BaseException], None]
) -> None:
    """Daphne logs from a timer that was started in another request."""
    span = telemetry.providers[0].get_tracer("shop").start_span("other request")
    with trace.use_span(span):
        span.end()
        log(failure())
    assert telemetry.logs()[0].log_record.trace_id == TRACE


def test_record_of_an_exception_without_a_span_has_no_trace(telemetry: Telemetry) -> None:
    """Also a record below WARNING, made while a failed request is handled, is not connected."""
    by_logging(raised(RefusedError("no")))
    logger = logging.getLogger("made.server")
    logger.setLevel(logging.INFO)
    try:
        raise failure()
    except RefusedError:
        logger.info("going on")
    finally:
        logger.setLevel(logging.NOTSET)
    assert [found.log_record.trace_id for found in telemetry.logs()] == [0, 0]


def test_repeated_record_keeps_the_span_of_its_error(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of equal records is sent later, with the span of its own exception."""
    LogRecordsInstrumentor().uninstrument()
    monkeypatch.setenv("OTEL_DISTRO_LOG_DEDUP_LIMIT", "1")
    LogRecordsInstrumentor().instrument()
    by_logging(raised(RefusedError("no")))
    by_logging(failure())
    deduplicate._release_all()
    assert [found.log_record.trace_id for found in telemetry.logs()] == [0, TRACE]


def test_printed_line_of_a_failed_request_has_its_trace(telemetry: Telemetry) -> None:
    """The fields that a format names are those of the exported record."""
    from otel_distro._startup import logging_hooks

    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{vars(record)['otelTraceID']} {record.getMessage()}")

    logger, handler = logging.getLogger("made.server"), Kept()
    logger.addHandler(handler)
    logging_hooks.wanted.add("otelTraceID")
    try:
        by_logging(failure())
    finally:
        logging_hooks.wanted.discard("otelTraceID")
        logger.removeHandler(handler)
    assert lines == [f"{TRACE:032x} failed"]
