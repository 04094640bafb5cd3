"""Every record that the level of a sink accepts is exported once; no sink is added."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import loguru
import pytest
from loguru import logger as shared
from opentelemetry import trace

from otel_distro._otel.sdk import SeverityNumber
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from otel_distro.instrumentation.loguru_records import LoguruRecordsInstrumentor
from tests.support.contract import Contract
from tests.support.release import mixed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture
def printed() -> Iterator[list[str]]:
    """The lines of the application's one sink, whose level is INFO."""
    lines: list[str] = []
    shared.remove()
    shared.add(lambda message: lines.append(str(message).rstrip()), level="INFO", format="{function}:{line} {message}")
    yield lines
    shared.remove()
    shared.configure(patcher=None)
    shared.add(sys.stderr)  # the default


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Install both instrumentors."""
    LogRecordsInstrumentor().instrument()
    LoguruRecordsInstrumentor().instrument()
    yield
    LoguruRecordsInstrumentor().uninstrument()
    LogRecordsInstrumentor().uninstrument()


def bodies(telemetry: Telemetry) -> list[Any]:
    """Return the messages that were exported."""
    return [found.log_record.body for found in telemetry.logs()]


def test_record_arrives_with_all_fields(telemetry: Telemetry, printed: list[str]) -> None:
    """Message, level, location, thread, bound values, exception; the output is unchanged."""
    with trace.get_tracer("made").start_as_current_span("work") as span:
        try:
            int("tea")
        except ValueError:
            shared.bind(order=7, items=["tea", 2]).opt(exception=True).success("{} is out", "tea")
    (found,) = telemetry.logs()
    log = found.log_record
    assert found.instrumentation_scope is not None
    assert found.instrumentation_scope.name == __name__
    assert (log.body, log.severity_text, log.severity_number) == ("tea is out", "SUCCESS", SeverityNumber.INFO3)
    assert (log.trace_id, log.span_id) == (span.get_span_context().trace_id, span.get_span_context().span_id)
    attributes = dict(log.attributes or {})
    assert "ValueError" in str(attributes.pop("exception.stacktrace"))
    line = attributes["code.line.number"]
    assert {key: attributes[key] for key in attributes if not key.startswith("python.")} == {
        "code.file.path": __file__,
        "code.function.name": "test_record_arrives_with_all_fields",
        "code.line.number": line,
        "thread.id": threading.get_ident(),
        "thread.name": "MainThread",
        "order": 7,
        "items": mixed("tea", 2),
        "exception.type": "ValueError",
        "exception.message": "invalid literal for int() with base 10: 'tea'",
    }
    assert printed[0].startswith(f"test_record_arrives_with_all_fields:{line} tea is out")


def test_record_of_several_sinks_is_exported_once(telemetry: Telemetry, printed: list[str]) -> None:
    """A record that several sinks get is exported once; one that no sink accepts is not."""
    other = shared.add(lambda _: None, level="DEBUG")
    last = shared.add(lambda _: None, level="ERROR")
    for _ in range(3):
        shared.info("all")
    shared.debug("one")
    shared.trace("none")
    shared.remove(other)
    shared.debug("none any more")
    shared.remove(last)
    shared.remove()
    shared.error("without a sink")
    assert bodies(telemetry) == ["all", "all", "all", "one"]


def test_lazy_values_patchers_and_contexts_are_applied(telemetry: Telemetry, printed: list[str]) -> None:
    """A lazy value is computed once; values of patchers and contexts are attributes."""
    computed: list[int] = []

    def value() -> str:
        computed.append(1)
        return "dear"

    patched = shared.patch(lambda record: record["extra"].update(patched=True))
    with shared.contextualize(request="r1"):
        patched.opt(lazy=True).warning("{}", value)
    assert computed == [1]
    (found,) = telemetry.logs()
    attributes = dict(found.log_record.attributes or {})
    assert (found.log_record.body, attributes["patched"], attributes["request"]) == ("dear", True, "r1")


def test_record_passed_between_libraries_is_exported_once(telemetry: Telemetry, printed: list[str]) -> None:
    """Handlers that pass records from one library to the other cause no duplicates."""

    class ToLoguru(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shared.log(record.levelname, record.getMessage())

    class ToLogging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.getLogger("made.from.loguru").handle(record)

    logger, handler = logging.getLogger("made.to.loguru"), ToLoguru()
    logger.addHandler(handler)
    try:
        logger.warning("from %s", "logging")
    finally:
        logger.removeHandler(handler)
    shared.add(ToLogging(), format="{message}")
    shared.warning("from loguru")
    assert bodies(telemetry) == ["from logging", "from loguru"]
    assert [line.partition(" ")[2] for line in printed] == ["from logging", "from loguru"]


def test_lower_level_makes_records_for_export_only(
    telemetry: Telemetry, printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule for a module exports its records below the level of every sink, and no others."""
    LogRecordsInstrumentor().uninstrument()
    monkeypatch.setenv("OTEL_DISTRO_LOG_LEVELS", f"{__name__}=DEBUG")
    LogRecordsInstrumentor().instrument()
    shared.debug("ours")
    shared.trace("too low")
    exec("from loguru import logger; logger.debug('theirs')", {"__name__": "theirs"})
    assert bodies(telemetry) == ["ours"]
    assert printed == []


def test_broken_export_does_not_affect_the_application(
    telemetry: Telemetry, printed: list[str], swallowed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application's line is printed, and the failure is reported."""
    monkeypatch.setattr("otel_distro.instrumentation.loguru_records._extras", lambda *_: 1 / 0)
    shared.info("printed all the same")
    assert printed[0].endswith("printed all the same")
    assert swallowed == ["exporting a record of loguru: ZeroDivisionError: division by zero"]
    swallowed.clear()


def test_uninstrument_restores_the_classes_of_loguru() -> None:
    """Uninstrumented, the classes of loguru are unchanged."""
    LoguruRecordsInstrumentor().uninstrument()
    core: Any = loguru._logger.Core  # type: ignore[attr-defined]
    assert "min_level" not in vars(core)
    assert shared._core.min_level == float("inf") or isinstance(shared._core.min_level, int)  # type: ignore[attr-defined]


def log_with_loguru() -> None:
    """Log a line by loguru."""
    loguru.logger.error("application")


CONTRACT = Contract(
    log_with_loguru, inside="otel_distro.instrumentation.loguru_records._extras", names={""}, suppressible=False
)
