"""Every event of structlog is exported once, whether it is printed or goes to logging."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry import trace

from otel_distro._otel.sdk import SeverityNumber
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from otel_distro.instrumentation.structlog_records import StructlogRecordsInstrumentor
from tests.support.contract import Contract
from tests.support.release import mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

WHERE = structlog.processors.CallsiteParameter
STEPS = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(),
    structlog.processors.CallsiteParameterAdder([WHERE.PATHNAME, WHERE.FUNC_NAME, WHERE.LINENO, WHERE.THREAD_NAME]),
    structlog.processors.format_exc_info,
)


class Kept(logging.Handler):
    """A handler of the application."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture
def handler() -> Iterator[Kept]:
    """A handler of the logger ``made.structlog``, whose level is INFO."""
    logger, made = logging.getLogger("made.structlog"), Kept()
    logger.addHandler(made)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield made
    logger.removeHandler(made)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Install both instrumentors; structlog has its default configuration."""
    LogRecordsInstrumentor().instrument()
    StructlogRecordsInstrumentor().instrument()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    StructlogRecordsInstrumentor().uninstrument()
    LogRecordsInstrumentor().uninstrument()


def to_logging(last: Callable[..., Any]) -> Any:
    """Return a logger whose events go to the logger ``made.structlog``."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, last],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return structlog.get_logger("made.structlog")


def to_print() -> Any:
    """Return a logger that prints JSON."""
    structlog.configure(processors=[*STEPS, structlog.processors.JSONRenderer()])
    return structlog.get_logger()


def test_printed_event_arrives_with_all_fields(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys with their types, level, code location, trace; keys of processors are left out."""
    structlog.contextvars.bind_contextvars(request="r1")
    log = to_print().bind(order=7)
    with trace.get_tracer("made").start_as_current_span("work") as span:
        log.warning("sold out", items=["tea", 2])
    (found,) = telemetry.logs()
    record = found.log_record
    assert found.instrumentation_scope is not None
    assert found.instrumentation_scope.name == __name__
    assert (record.body, record.severity_number, record.severity_text) == ("sold out", SeverityNumber.WARN, "WARNING")
    assert record.trace_id == span.get_span_context().trace_id
    printed = json.loads(capsys.readouterr().out)
    assert dict(record.attributes or {}) == {
        "code.file.path": __file__,
        "code.function.name": "test_printed_event_arrives_with_all_fields",
        "code.line.number": printed["lineno"],
        "thread.id": threading.get_ident(),
        "thread.name": "MainThread",
        "request": "r1",
        "order": 7,
        "items": mixed("tea", 2),
    }
    assert (printed["event"], printed["func_name"]) == ("sold out", "test_printed_event_arrives_with_all_fields")


@pytest.mark.parametrize(
    "last",
    [
        structlog.processors.JSONRenderer(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        structlog.stdlib.render_to_log_kwargs,
    ],
    ids=["text", "formatter", "keywords"],
)
def test_event_passed_to_logging_is_exported_once(
    telemetry: Telemetry, handler: Kept, last: Callable[..., Any]
) -> None:
    """It has message and keys of the event and the name of the logger, whose level applies."""
    log = to_logging(last)
    log.info("sold out", order=7)
    log.debug("below the level")
    logging.getLogger("made.structlog").info("plain")
    first, second = telemetry.logs()
    assert (first.log_record.body, second.log_record.body) == ("sold out", "plain")
    assert first.instrumentation_scope is not None
    assert first.instrumentation_scope.name == "made.structlog"
    attributes = dict(first.log_record.attributes or {})
    assert attributes["order"] == 7
    assert attributes["code.function.name"] == "test_event_passed_to_logging_is_exported_once"
    assert "order" not in (second.log_record.attributes or {})
    assert len(handler.messages) == 2


def test_application_keys_become_attributes(telemetry: Telemetry, capsys: pytest.CaptureFixture[str]) -> None:
    """Also keys that processors usually add, if the application gave them; not ``_`` keys."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    structlog.get_logger().info("read", filename="mine.csv", timestamp=12, thread="blue", _hidden=1, nothing=None)
    (found,) = telemetry.logs()
    attributes = dict(found.log_record.attributes or {})
    shown = {key: value for key, value in attributes.items() if not key.startswith(("code.", "thread."))}
    assert shown == {"filename": "mine.csv", "timestamp": 12, "thread": "blue"}


@pytest.mark.parametrize("given", ["exception", "exc_info", "object"])
def test_exception_becomes_attributes(telemetry: Telemetry, capsys: pytest.CaptureFixture[str], given: str) -> None:
    """The exception is recorded, although a processor has formatted it before."""
    log = to_print()
    try:
        int("tea")
    except ValueError as error:
        if given == "exception":
            log.exception("failed")
        else:
            log.critical("failed", exc_info=True if given == "exc_info" else error)
    (found,) = telemetry.logs()
    attributes = dict(found.log_record.attributes or {})
    assert attributes["exception.type"] == "ValueError"
    assert attributes["exception.message"] == "invalid literal for int() with base 10: 'tea'"
    assert "exception" not in attributes
    assert "ValueError" in json.loads(capsys.readouterr().out)["exception"]


def test_dropped_event_is_not_exported(telemetry: Telemetry) -> None:
    """An event that a processor drops is not exported, and ``capture_logs`` works."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    log = structlog.get_logger().bind(order=7)
    with structlog.testing.capture_logs() as captured:
        log.info("captured")
        structlog.get_logger().info("captured too")
    assert [entry["event"] for entry in captured] == ["captured", "captured too"]
    assert list(telemetry.logs()) == []


def test_configuration_looks_unchanged_to_the_application(telemetry: Telemetry) -> None:
    """The application sees its own processors, and gets them back when uninstrumented."""
    chain = [structlog.processors.JSONRenderer()]
    structlog.configure(processors=chain)
    log = structlog.get_logger().bind()
    assert structlog.get_config()["processors"] is chain
    assert log._processors == chain
    assert repr(log) == f"<{type(log).__name__}(context={{}}, processors={chain!r})>"
    StructlogRecordsInstrumentor().uninstrument()
    assert log._processors is chain


def test_broken_export_does_not_affect_the_application(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str], swallowed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application's line is printed, and the failure is reported."""
    monkeypatch.setattr("otel_distro.instrumentation.structlog_records._fields_of", lambda *_: 1 / 0)
    to_print().info("printed all the same")
    assert json.loads(capsys.readouterr().out)["event"] == "printed all the same"
    assert swallowed == ["exporting an event of structlog: ZeroDivisionError: division by zero"]
    swallowed.clear()


def log_with_structlog() -> None:
    """Log an event by structlog, which prints it."""
    structlog.get_logger().error("application")


CONTRACT = Contract(
    log_with_structlog,
    inside="otel_distro.instrumentation.structlog_records._fields_of",
    names={""},
    suppressible=False,
)
