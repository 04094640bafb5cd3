"""Every record that a logger lets through becomes one log record; what the application prints stays as it is."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro._otel.sdk import SeverityNumber
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.processes import bare_and_ours
from tests.support.release import mixed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_distro._otel.sdk import ReadableLogRecord
    from otel_distro.testing import Telemetry


STOCK: dict[str, int] = {}


class Kept(logging.Handler):
    """The application's handler."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the formatted message."""
        try:
            self.messages.append(self.format(record))
        except TypeError:
            self.handleError(record)


@pytest.fixture
def handler() -> Kept:
    """A handler that keeps what it gets."""
    return Kept()


@pytest.fixture
def logger(handler: Kept) -> Iterator[logging.Logger]:
    """A logger of the application that does not propagate, with a handler of its own."""
    made = logging.getLogger("made.shop")
    made.propagate, made.handlers = False, [handler]
    made.setLevel(1)
    yield made
    made.propagate, made.handlers = True, []
    made.setLevel(logging.NOTSET)


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """The instrumentor at work."""
    LogRecordsInstrumentor().instrument()
    yield
    LogRecordsInstrumentor().uninstrument()


def only(telemetry: Telemetry) -> ReadableLogRecord:
    """Return the one record there is."""
    (found,) = telemetry.logs()
    return found


def test_whole_record(telemetry: Telemetry, instrumented: object, logger: logging.Logger, handler: Kept) -> None:
    """Message, time, level, place and thread arrive, with their types, under the names of the conventions."""
    record = logger.makeRecord("made.shop", logging.WARNING, "/app/shop.py", 7, "%s is out", ("tea",), None, "sell")
    logger.handle(record)
    found = only(telemetry)
    assert found.instrumentation_scope is not None
    assert found.instrumentation_scope.name == "made.shop"
    log = found.log_record
    assert (log.body, log.severity_number, log.severity_text) == ("tea is out", SeverityNumber.WARN, "WARNING")
    assert log.timestamp == int(record.created * 1e9)
    assert dict(log.attributes or {}) == {
        "code.file.path": "/app/shop.py",
        "code.function.name": "sell",
        "code.line.number": 7,
        "thread.id": threading.get_ident(),
        "thread.name": "MainThread",
    }
    assert handler.messages == ["tea is out"]


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (1, 1), (5, 2), (9, 4), (10, 5), (15, 7), (19, 8), (20, 9), (25, 11), (29, 12), (30, 13), (35, 15), (39, 16),
        (40, 17), (45, 19), (49, 20), (50, 21), (55, 23), (60, 24), (1000, 24),
    ],
)  # fmt: skip
def test_severity(telemetry: Telemetry, instrumented: object, logger: logging.Logger, level: int, number: int) -> None:
    """Ten levels of Python are four of OpenTelemetry: DEBUG 5, INFO 9, WARNING 13, ERROR 17, CRITICAL 21."""
    logger.log(level, "x")
    assert only(telemetry).log_record.severity_number == SeverityNumber(number)


def test_severity_never_falls(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """A higher level never has a lower severity, and every level from 0 to 60 has one."""
    for level in range(61):
        logger.handle(logging.LogRecord("made.shop", level, "", 0, "x", (), None))
    numbers = [found.log_record.severity_number for found in telemetry.logs()]
    assert len(numbers) == 61
    assert [number.value for number in numbers if number] == sorted(number.value for number in numbers if number)
    assert numbers[0] == SeverityNumber.TRACE


def test_extras(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """Extras are attributes in their own types; what is no plain value becomes text; nothing becomes nothing."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    extra: dict[str, Any] = {
        "shop.order": "A1", "n": 3, "price": 1.5, "paid": True, "items": ["tea", 2], "none": None, "odd": Odd()
    }  # fmt: skip
    logger.info("x", extra=extra)
    attributes = dict(only(telemetry).log_record.attributes or {})
    found = {key: attributes[key] for key in extra if key in attributes}
    assert found == {
        "shop.order": "A1", "n": 3, "price": 1.5, "paid": True, "items": mixed("tea", 2), "odd": "<unprintable>"
    }  # fmt: skip
    assert {key: type(value) for key, value in found.items()}["paid"] is bool


def test_exception_of_a_record(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """``exc_info`` becomes class, message and the trace as Python prints it."""
    try:
        STOCK["missing"]
    except KeyError as error:
        logger.exception("failed")
        printed = "".join(traceback.format_exception(error))
    attributes = dict(only(telemetry).log_record.attributes or {})
    assert attributes["exception.type"] == "KeyError"
    assert attributes["exception.message"] == "'missing'"
    assert attributes["exception.stacktrace"] == printed


def test_exc_info_without_an_exception(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """``exc_info=True`` outside of a handler adds nothing."""
    logger.error("x", exc_info=True)  # noqa: LOG014 - the mistake is the point
    assert "exception.type" not in dict(only(telemetry).log_record.attributes or {})


def test_bad_arguments(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments that do not fit the message give the message as it stands; logging itself reports them as ever."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.warning("%s of %s", "one")  # noqa: PLE1206 - the mistake is the point
    logger.warning("%d", "two")
    logger.warning(ValueError("an object"))
    assert [found.log_record.body for found in telemetry.logs()] == ["%s of %s", "%d", "an object"]


def test_trace_is_the_current_one(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """A record within a span belongs to it."""
    with trace.get_tracer("made").start_as_current_span("work") as span:
        logger.info("inside")
    context = span.get_span_context()
    log = only(telemetry).log_record
    assert (log.trace_id, log.span_id) == (context.trace_id, context.span_id)


@pytest.mark.parametrize("name", ["opentelemetry", "opentelemetry.sdk.trace", "otel_distro.export"])
def test_own_loggers_are_left_out(telemetry: Telemetry, instrumented: object, name: str) -> None:
    """What OpenTelemetry says about itself is not exported: a failing export would feed itself."""
    own = logging.getLogger(name)
    own.handle(logging.LogRecord(name, logging.ERROR, "", 0, "x", (), None))
    assert list(telemetry.logs()) == []


def test_application_with_a_similar_name(telemetry: Telemetry, instrumented: object) -> None:
    """A logger whose name only begins alike is the application's."""
    name = "opentelemetry_shop"
    logging.getLogger(name).handle(logging.LogRecord(name, logging.ERROR, "", 0, "x", (), None))
    assert only(telemetry).log_record.body == "x"


def test_no_record_comes_twice(telemetry: Telemetry, instrumented: object, handler: Kept) -> None:
    """However many loggers and handlers see a record on its way up, it is exported once."""
    loggers = [logging.getLogger(name) for name in ("made", "made.inner", "made.inner.deep")]
    for each in loggers:
        each.addHandler(handler)
    try:
        loggers[-1].warning("once")
    finally:
        for each in loggers:
            each.removeHandler(handler)
    assert handler.messages == ["once"] * 3
    assert only(telemetry).log_record.body == "once"


def test_what_a_logger_stops_is_not_exported(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, handler: Kept
) -> None:
    """Levels and filters of loggers hold; those of handlers are the handlers' own affair."""
    logger.setLevel(logging.WARNING)
    logger.info("too low")
    logger.addFilter(lambda record: "secret" not in record.getMessage())
    handler.setLevel(logging.CRITICAL)
    try:
        logger.warning("secret")
        logger.warning("told")
    finally:
        logger.filters.clear()
    assert handler.messages == []
    assert only(telemetry).log_record.body == "told"


def test_handlers_are_not_touched(telemetry: Telemetry, logger: logging.Logger) -> None:
    """Instrumenting adds no handler anywhere, so ``basicConfig`` and ``lastResort`` work as ever."""
    before = (list(logging.getLogger().handlers), list(logger.handlers), logging.lastResort)
    LogRecordsInstrumentor().instrument()
    LogRecordsInstrumentor().uninstrument()
    assert (logging.getLogger().handlers, logger.handlers, logging.lastResort) == before


def test_error_of_ours_and_error_of_a_handler(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, handler: Kept, swallowed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An error of ours does not reach the application; what its handler raises does, and the record is exported."""

    class Closed(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("closed")

    logger.handlers = [Closed()]
    with pytest.raises(OSError, match="closed"):
        logger.warning("told")
    assert only(telemetry).log_record.body == "told"

    logger.handlers = [handler]
    monkeypatch.setattr("otel_distro.instrumentation.log_records._extras", lambda _: 1 / 0)
    logger.warning("printed all the same")
    assert handler.messages == ["printed all the same"]
    assert swallowed == ["exporting a log record: ZeroDivisionError: division by zero"]
    swallowed.clear()


PROGRAMS = {
    "lastResort": "import logging\nlogging.warning('a')\nlogging.getLogger('x').error('b')\nlogging.info('c')\n",
    "no config": "import logging\nlogging.getLogger('x').warning('a')\n",
    "basicConfig": "import logging\nlogging.getLogger('x').debug('a')\nlogging.basicConfig(level=0)\nlogging.info('b')\n",
    "bad arguments": "import logging\nlogging.warning('good')\nlogging.warning('%d', 'x')\n",
    "dictConfig": (
        "import logging.config\nlogging.getLogger('early').error('early')\nlogging.config.dictConfig({'version': 1,"
        " 'handlers': {'h': {'class': 'logging.StreamHandler'}}, 'root': {'handlers': ['h'], 'level': 'INFO'}})\n"
        "logging.getLogger('early').error('off')\nlogging.getLogger('late').info('on')\n"
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_prints_what_it_prints_bare(tmp_path: Path, name: str) -> None:
    """Exit status, stdout and stderr are byte for byte those of the program without us."""
    bare, ours = bare_and_ours(tmp_path, PROGRAMS[name])
    assert bare[2]
    assert ours == bare
