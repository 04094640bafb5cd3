"""Levels by setting, file and signal select what is exported; the output is unchanged."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._startup import logging_hooks
from otel_distro.instrumentation._logging import levels
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_distro.testing import Telemetry


class Kept(logging.Handler):
    """A handler of the application."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.funcName}: {record.getMessage()}")


@pytest.fixture
def printed() -> Iterator[list[str]]:
    """Messages that the handler of ``made``, whose level is WARNING, has received."""
    logger, handler = logging.getLogger("made"), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    yield handler.messages
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture
def instrument(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install the instrumentor with these settings."""

    def start(levels: str = "", **changes: str) -> None:
        for name, value in {"OTEL_DISTRO_LOG_LEVELS": levels, **changes}.items():
            monkeypatch.setenv(name, value)
        LogRecordsInstrumentor().instrument()

    yield start
    LogRecordsInstrumentor().uninstrument()


def bodies(telemetry: Telemetry) -> list[Any]:
    """Return the messages that were exported."""
    return [found.log_record.body for found in telemetry.logs()]


def test_lower_level_makes_records_for_export_only(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None]
) -> None:
    """A record below its logger's level is exported with its location, and reaches no handler."""
    instrument("made.db=DEBUG")
    database = logging.getLogger("made.db.pool")
    database.debug("opened %d", 3)
    database.warning("slow")
    logging.getLogger("made.web").info("no rule")
    assert bodies(telemetry) == ["opened 3", "slow"]
    assert printed == ["test_lower_level_makes_records_for_export_only: slow"]
    attributes = dict(telemetry.logs()[0].log_record.attributes or {})
    assert attributes["code.function.name"] == "test_lower_level_makes_records_for_export_only"
    assert attributes["code.file.path"] == __file__


def test_higher_level_keeps_records_from_export(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None]
) -> None:
    """A rule above its logger's level keeps records from the export; they are printed."""
    instrument("made=ERROR, made.web = OFF")
    logging.getLogger("made.db").warning("a")
    logging.getLogger("made.db").error("b")
    logging.getLogger("made.web").error("c")
    assert bodies(telemetry) == ["b"]
    assert [line.rpartition(" ")[2] for line in printed] == ["a", "b", "c"]


@pytest.mark.parametrize("everything", ["*", "root"])
def test_rule_for_all_loggers_applies_without_a_closer_rule(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None], everything: str
) -> None:
    """``*`` and ``root`` apply to loggers without a rule of their own, not to OpenTelemetry's."""
    instrument(f"{everything}=INFO,made.db=40")
    logging.getLogger("made.web").info("web")
    logging.getLogger("made.db").warning("db")
    assert not logging.getLogger("opentelemetry.made").isEnabledFor(logging.INFO)
    assert bodies(telemetry) == ["web"]
    assert [line.rpartition(" ")[2] for line in printed] == ["db"]


def test_record_given_to_handle_reaches_the_handlers(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None]
) -> None:
    """``Logger.handle`` checks no level: its records reach the handlers, also below the level."""
    instrument("made=DEBUG")
    logger = logging.getLogger("made.db")
    record = logger.makeRecord("made.db", logging.DEBUG, "", 0, "handled", (), None, "f")
    assert logger.isEnabledFor(logging.DEBUG)
    logger.handle(record)
    assert printed == ["f: handled"]
    assert bodies(telemetry) == ["handled"]


def test_logger_filter_applies_to_exported_records(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None]
) -> None:
    """A record that a filter of the logger rejects is not exported."""
    instrument("made=DEBUG")
    logger = logging.getLogger("made.db")
    logger.addFilter(lambda record: "secret" not in record.getMessage())
    try:
        logger.debug("secret")
        logger.debug("passed")
    finally:
        logger.filters.clear()
    assert bodies(telemetry) == ["passed"]


def test_logger_disabled_by_the_application_is_not_exported(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``logger.disabled = True`` wins over any rule."""
    instrument("made=DEBUG")
    logger = logging.getLogger("made.off")
    monkeypatch.setattr(logger, "disabled", True)
    logger.error("x")
    assert bodies(telemetry) == []
    assert printed == []


def test_bad_rule_is_ignored_and_named(capfd: pytest.CaptureFixture[str]) -> None:
    """Each bad entry is named in one line on stderr; the other rules apply."""
    rules = levels.parse("a=INFO,b=loud,c,=DEBUG,d e=INFO,,x.y=error", "OTEL_DISTRO_LOG_LEVELS")
    assert rules == {"a": logging.INFO, "": logging.DEBUG, "x.y": logging.ERROR}
    lines = capfd.readouterr().err.splitlines()
    assert [line.split("'")[1] for line in lines] == ["b=loud", "c", "d e=INFO"]
    assert all(line.startswith("otel-distro: OTEL_DISTRO_LOG_LEVELS: ") for line in lines)


def test_levels_file_applies_until_it_expires(
    telemetry: Telemetry,
    printed: list[str],
    instrument: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The rules of a new file apply within a second, until their time is over."""
    file = tmp_path / "levels"
    now = [1000.0]
    monkeypatch.setattr(levels, "monotonic", lambda: now[0])
    instrument(OTEL_DISTRO_LOG_LEVELS_FILE=str(file), OTEL_DISTRO_LOG_DEBUG_SECONDS="60")
    logger = logging.getLogger("made.db")
    logger.debug("before")
    file.write_text("# during the search\nmade.db=DEBUG\n", encoding="utf-8")
    now[0] += 2
    logger.debug("while")
    old = time.time() - 100
    os.utime(file, (old, old))
    now[0] += 2
    logger.debug("after")
    assert bodies(telemetry) == ["while"]
    assert printed == []
    assert [line.partition("log levels ")[2].split(" ")[0] for line in capfd.readouterr().err.splitlines()] == [
        "changed",
        "expired",
    ]


def test_signal_enables_debug_until_it_expires(
    telemetry: Telemetry, printed: list[str], instrument: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The callback of the signal exports everything from DEBUG on, until the time is over."""
    instrument(OTEL_DISTRO_LOG_DEBUG_SECONDS="60")
    logger = logging.getLogger("made.db")
    logger.debug("before")
    for callback in logging_hooks.on_signal:
        callback()
    logger.debug("while")
    later = time.time() + 61
    monkeypatch.setattr(levels, "time", lambda: later)
    monkeypatch.setattr(levels, "monotonic", lambda: later)
    logger.debug("after")
    assert bodies(telemetry) == ["while"]


def test_uninstrument_removes_rules_and_patches(telemetry: Telemetry, instrument: Callable[..., None]) -> None:
    """Uninstrumented, :mod:`logging` is unchanged and no rule applies."""
    before = {name: vars(logging.Logger)[name] for name in ("isEnabledFor", "handle", "callHandlers")}
    instrument("made=DEBUG")
    assert logging.Logger.isEnabledFor is not before["isEnabledFor"]
    LogRecordsInstrumentor().uninstrument()
    assert {name: vars(logging.Logger)[name] for name in before} == before
    assert levels.threshold("made") is None


@pytest.fixture
def shows() -> Iterator[Callable[..., logging.Logger]]:
    """Make a logger at DEBUG with handlers of these levels and types, which is the whole chain."""
    logger = logging.getLogger("made.shows")

    def make(*handlers: logging.Handler | int) -> logging.Logger:
        # Without the handlers that pytest has added.
        logger.handlers = []
        for each in handlers:
            handler = Kept() if isinstance(each, int) else each
            if isinstance(each, int):
                handler.setLevel(each)
            logger.addHandler(handler)
        return logger

    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield make
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.mark.parametrize(
    ("handlers", "exported"),
    [
        ((logging.INFO,), ["info", "warning"]),
        ((logging.WARNING, logging.DEBUG), ["debug", "info", "warning"]),
        ((logging.ERROR,), []),
        ((logging.NullHandler(), logging.WARNING), ["warning"]),
        ((logging.NullHandler(),), ["info", "warning"]),
        ((), ["info", "warning"]),
    ],
)
def test_record_that_no_handler_shows_is_not_exported(
    telemetry: Telemetry,
    shows: Callable[..., logging.Logger],
    instrument: Callable[..., None],
    handlers: tuple[Any, ...],
    exported: list[str],
) -> None:
    """Without a handler that shows anything, records from INFO on are."""
    instrument()
    logger = shows(*handlers)
    for level in ("debug", "info", "warning"):
        getattr(logger, level)(level)
    assert bodies(telemetry) == exported


def test_rule_decides_on_what_handlers_show_in_both_directions(
    telemetry: Telemetry, shows: Callable[..., logging.Logger], instrument: Callable[..., None]
) -> None:
    """A rule exports what no handler shows, and leaves out what one shows."""
    instrument("made.shows=DEBUG,made.shows.less=ERROR")
    shows(logging.INFO).debug("shown nowhere")
    logging.getLogger("made.shows.less").warning("shown")
    assert bodies(telemetry) == ["shown nowhere"]


def test_exception_that_no_handler_shows_is_exported(
    telemetry: Telemetry, shows: Callable[..., logging.Logger], instrument: Callable[..., None]
) -> None:
    """From WARNING on: it is an error, whatever the handlers show."""
    instrument()
    logger = shows(logging.CRITICAL)
    try:
        int("tea")
    except ValueError:
        logger.exception("hidden error")
        logger.debug("hidden", exc_info=True)
    assert bodies(telemetry) == ["hidden error"]


def test_handler_of_a_parent_counts_and_changes_apply_at_once(
    telemetry: Telemetry, shows: Callable[..., logging.Logger], instrument: Callable[..., None]
) -> None:
    """Levels of handlers may change at any time."""
    instrument()
    parent = shows(logging.INFO)
    child = logging.getLogger("made.shows.child")
    child.debug("before")
    parent.handlers[0].setLevel(logging.DEBUG)
    child.debug("after")
    assert bodies(telemetry) == ["after"]
