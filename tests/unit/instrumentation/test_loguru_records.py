"""Every record of loguru that a sink's level lets through becomes one log record; no sink is added and none is missed."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import loguru
import pytest
from loguru import logger as shared
from opentelemetry import trace

from otel_distro import correlation
from otel_distro._otel.sdk import SeverityNumber
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from otel_distro.instrumentation.loguru_records import LoguruRecordsInstrumentor
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
    shared.add(sys.stderr)  # as it comes


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Both libraries instrumented."""
    LogRecordsInstrumentor().instrument()
    LoguruRecordsInstrumentor().instrument()
    yield
    LoguruRecordsInstrumentor().uninstrument()
    LogRecordsInstrumentor().uninstrument()


def bodies(telemetry: Telemetry) -> list[Any]:
    """Return the texts that were exported."""
    return [found.log_record.body for found in telemetry.logs()]


def test_whole_record(telemetry: Telemetry, printed: list[str]) -> None:
    """Text, level, time, place, thread, bound values and exception arrive; loguru prints what it prints."""
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
        "code.function.name": "test_whole_record",
        "code.line.number": line,
        "thread.id": threading.get_ident(),
        "thread.name": "MainThread",
        "order": 7,
        "items": mixed("tea", 2),
        "exception.type": "ValueError",
        "exception.message": "invalid literal for int() with base 10: 'tea'",
    }
    assert printed[0].startswith(f"test_whole_record:{line} tea is out")


def test_once_however_many_sinks(telemetry: Telemetry, printed: list[str]) -> None:
    """A record that several sinks get is exported once; one that no sink's level takes is not; nor is any without sinks."""
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
    shared.error("nobody listens")
    assert bodies(telemetry) == ["all", "all", "all", "one"]


def test_lazy_and_patched(telemetry: Telemetry, printed: list[str]) -> None:
    """A lazy value is asked once, and what patchers and contexts add is there."""
    asked: list[int] = []

    def value() -> str:
        asked.append(1)
        return "dear"

    patched = shared.patch(lambda record: record["extra"].update(patched=True))
    with shared.contextualize(request="r1"):
        patched.opt(lazy=True).warning("{}", value)
    assert asked == [1]
    (found,) = telemetry.logs()
    attributes = dict(found.log_record.attributes or {})
    assert (found.log_record.body, attributes["patched"], attributes["request"]) == ("dear", True, "r1")


def test_what_passes_both_libraries_comes_once(telemetry: Telemetry, printed: list[str]) -> None:
    """Handlers that send loguru's records to logging, or those of logging to loguru, make nothing come twice."""

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
    """A rule for a module lets its records exist below the level of every sink, and no other module's."""
    LogRecordsInstrumentor().uninstrument()
    monkeypatch.setenv("OTEL_DISTRO_LOG_LEVELS", f"{__name__}=DEBUG")
    LogRecordsInstrumentor().instrument()
    shared.debug("ours")
    shared.trace("too low")
    exec("from loguru import logger; logger.debug('theirs')", {"__name__": "theirs"})
    assert bodies(telemetry) == ["ours"]
    assert printed == []


def test_error_of_ours(
    telemetry: Telemetry, printed: list[str], swallowed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours leaves the application's line alone."""
    monkeypatch.setattr("otel_distro.instrumentation.loguru_records._extras", lambda *_: 1 / 0)
    shared.info("printed all the same")
    assert printed[0].endswith("printed all the same")
    assert swallowed == ["exporting a record of loguru: ZeroDivisionError: division by zero"]
    swallowed.clear()


def test_trace_in_formats_of_the_application(telemetry: Telemetry) -> None:
    """The patcher gives formats the current trace, and zeros outside; it is no attribute of what is exported."""
    lines: list[str] = []
    shared.remove()
    shared.configure(patcher=correlation.loguru_patcher)
    shared.add(lines.append, format="{extra[otelTraceID]} {message}")
    with trace.get_tracer("made").start_as_current_span("work") as span:
        shared.info("in")
    shared.info("out")
    shared.remove()
    shared.configure(patcher=None)
    shared.add(sys.stderr)
    assert [str(line).rstrip() for line in lines] == [f"{span.get_span_context().trace_id:032x} in", "0 out"]
    assert not any(key.startswith("otel") for found in telemetry.logs() for key in found.log_record.attributes or {})


def test_put_back() -> None:
    """Taken out, loguru's classes are what they were."""
    LoguruRecordsInstrumentor().uninstrument()
    core: Any = loguru._logger.Core  # type: ignore[attr-defined]
    assert "min_level" not in vars(core)
    assert shared._core.min_level == float("inf") or isinstance(shared._core.min_level, int)  # type: ignore[attr-defined]
