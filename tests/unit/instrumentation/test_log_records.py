"""Every record that passes its logger is exported once; the application's output is unchanged."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import TYPE_CHECKING

import pytest

from otel_distro._otel.sdk import SeverityNumber
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.contract import Contract
from tests.support.processes import bare_and_ours

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_distro._otel.sdk import ReadableLogRecord
    from otel_distro.testing import Telemetry


STOCK: dict[str, int] = {}


class Kept(logging.Handler):
    """A handler of the application."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Store the formatted message."""
        try:
            self.messages.append(self.format(record))
        except TypeError:
            self.handleError(record)


@pytest.fixture
def handler() -> Kept:
    """A handler that stores its messages."""
    return Kept()


@pytest.fixture
def logger(handler: Kept) -> Iterator[logging.Logger]:
    """A logger that does not propagate, with a handler of its own."""
    made = logging.getLogger("made.shop")
    made.propagate, made.handlers = False, [handler]
    made.setLevel(1)
    yield made
    made.propagate, made.handlers = True, []
    made.setLevel(logging.NOTSET)


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Install the instrumentor."""
    LogRecordsInstrumentor().instrument()
    yield
    LogRecordsInstrumentor().uninstrument()


def only(telemetry: Telemetry) -> ReadableLogRecord:
    """Return the only record."""
    (found,) = telemetry.logs()
    return found


def test_record_arrives_with_all_fields(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, handler: Kept
) -> None:
    """Message, time, level, code location and thread, named as in the semantic conventions."""
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


def test_exc_info_becomes_exception_attributes(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger
) -> None:
    """Class, message, and the stack trace as Python prints it."""
    try:
        STOCK["missing"]
    except KeyError as error:
        logger.exception("failed")
        printed = "".join(traceback.format_exception(error))
    attributes = dict(only(telemetry).log_record.attributes or {})
    assert attributes["exception.type"] == "KeyError"
    assert attributes["exception.message"] == "'missing'"
    assert attributes["exception.stacktrace"] == printed


def test_exc_info_without_exception_adds_nothing(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger
) -> None:
    """``exc_info=True`` outside of an ``except`` block adds no attribute."""
    logger.error("x", exc_info=True)  # noqa: LOG014 - the mistake is the point
    assert "exception.type" not in dict(only(telemetry).log_record.attributes or {})


def test_bad_arguments_export_the_template(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments that do not fit leave the message as it is; logging itself reports them."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.warning("%s of %s", "one")  # noqa: PLE1206 - the mistake is the point
    logger.warning("%d", "two")
    logger.warning(ValueError("an object"))
    assert [found.log_record.body for found in telemetry.logs()] == ["%s of %s", "%d", "an object"]


def test_record_of_several_handlers_is_exported_once(telemetry: Telemetry, instrumented: object, handler: Kept) -> None:
    """A record that propagates through several loggers and handlers is exported once."""
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


def test_record_rejected_by_its_logger_is_not_exported(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, handler: Kept
) -> None:
    """Levels and filters of loggers apply; those of handlers do not."""
    logger.setLevel(logging.WARNING)
    logger.info("too low")
    logger.addFilter(lambda record: "secret" not in record.getMessage())
    handler.setLevel(logging.CRITICAL)
    try:
        logger.warning("secret")
        logger.warning("passed")
    finally:
        logger.filters.clear()
    assert handler.messages == []
    assert only(telemetry).log_record.body == "passed"


def test_instrumenting_adds_no_handler(telemetry: Telemetry, logger: logging.Logger) -> None:
    """No handler is added anywhere, so ``basicConfig`` and ``lastResort`` work as before."""
    before = (list(logging.getLogger().handlers), list(logger.handlers), logging.lastResort)
    LogRecordsInstrumentor().instrument()
    LogRecordsInstrumentor().uninstrument()
    assert (logging.getLogger().handlers, logger.handlers, logging.lastResort) == before


def test_errors_of_handler_and_exporter_are_kept_apart(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, handler: Kept, swallowed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An error of the handler reaches the application; an error of the export does not."""

    class Closed(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("closed")

    logger.handlers = [Closed()]
    with pytest.raises(OSError, match="closed"):
        logger.warning("exported")
    assert only(telemetry).log_record.body == "exported"

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
def test_logging_program_prints_as_without_instrumentation(tmp_path: Path, name: str) -> None:
    """Exit status, stdout and stderr are byte for byte those of the bare program."""
    bare, ours = bare_and_ours(tmp_path, PROGRAMS[name])
    assert bare[2]
    assert ours == bare


def log() -> None:
    """Log a line."""
    logging.getLogger("made.contract").error("application")


CONTRACT = Contract(log, inside="otel_distro.instrumentation.log_records._extras", names={""}, suppressible=False)
