"""What every instrumentor of ours promises, found through its entry point: a new one is tested by being registered."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from importlib.metadata import EntryPoint, distribution
from typing import TYPE_CHECKING, Any

import flask
import loguru
import pytest
import structlog
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_distro import schema as s
from otel_distro._startup import triggers
from otel_distro.instrumentation import Instrumentor, process_metrics, security_audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

OURS = {
    point.name: point
    for point in distribution("otel-distro").entry_points
    if point.group == "opentelemetry_instrumentor"
}


def raise_in_main() -> None:
    """End the main thread, as the interpreter does it."""
    error = ValueError("application")
    sys.excepthook(type(error), error, error.__traceback__)


def raise_in_thread() -> None:
    """End a thread by an exception."""
    thread = threading.Thread(target=lambda: int("application"))
    thread.start()
    thread.join()


def raise_in_task() -> None:
    """Leave the exception of a task to nobody."""

    async def main() -> None:
        task = asyncio.ensure_future(asyncio.wait_for(asyncio.Event().wait(), 0))
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())


def log() -> None:
    """Log a line."""
    logging.getLogger("made.contract").error("application")


def log_with_loguru() -> None:
    """Log a line by loguru."""
    loguru.logger.error("application")


def log_with_structlog() -> None:
    """Log an event by structlog, which prints it."""
    structlog.get_logger().error("application")


def change_group() -> None:
    """Change the group to what it is, and let what is audited be told."""
    os.setgid(os.getgid())
    security_audit._teller.tell_all()


def be_refused() -> None:
    """Ask a Flask application for what it refuses."""
    app: Any = flask.Flask("made")
    app.add_url_rule("/secret", view_func=lambda: ("no", 403))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/secret", "REMOTE_ADDR": "192.0.2.7", "SERVER_NAME": "made",
               "SERVER_PORT": "80", "wsgi.url_scheme": "http"}  # fmt: skip
    for _ in app(environ, lambda status, headers: lambda data: None):
        pass


def collect() -> None:
    """Do nothing: metrics are read when they are collected."""


class Case:
    """What an application does to be seen by an instrumentor, what of ours it runs into, and what may be recorded.

    ``inside``: a place of ours that is broken to see whether the application notices. ``suppressible``: whether
    ``suppress_instrumentation()`` applies: it is for calls that somebody makes, to keep their spans from being made. A
    line that is logged or an exception that ends a thread are facts about the process, whoever's code is running.
    """

    def __init__(self, *work: Callable[[], None], inside: str, names: set[str], suppressible: bool) -> None:
        self.work = work
        self.inside = inside
        self.names = names
        self.suppressible = suppressible


CASES = {
    "security_audit": Case(
        change_group,
        inside="otel_distro.instrumentation.security_audit._tell",
        names={s.AUDIT_PRIVILEGE_CHANGE.name, s.AUDIT_EVENTS.name},
        suppressible=True,
    ),
    "refused_attempts": Case(
        be_refused,
        inside="otel_distro.instrumentation._refusals.reports.Reports.refused",
        names={s.AUDIT_HTTP_REFUSED.name, s.AUDIT_EVENTS.name},
        suppressible=False,
    ),
    "error_tracking": Case(
        raise_in_main,
        raise_in_thread,
        raise_in_task,
        inside="otel_distro.errors.exception_report.type_name",
        names={s.EXCEPTION.name, s.PYTHON_EXCEPTIONS.name, s.PYTHON_EXCEPTION_FIRST_SEEN.name},
        suppressible=False,
    ),
    "log_records": Case(log, inside="otel_distro.instrumentation.log_records._extras", names={""}, suppressible=False),
    "loguru_records": Case(
        log_with_loguru,
        inside="otel_distro.instrumentation.loguru_records._extras",
        names={""},
        suppressible=False,
    ),
    "structlog_records": Case(
        log_with_structlog, inside="otel_distro.instrumentation.structlog_records._told", names={""}, suppressible=False
    ),
    "process_metrics": Case(
        collect,
        inside="otel_distro.instrumentation.process_metrics._Source.read",
        names={metric.name for metric in process_metrics._METRICS},
        suppressible=False,
    ),
}


@pytest.fixture(params=sorted(OURS))
def name(request: pytest.FixtureRequest) -> str:
    """Each instrumentor of ours in turn."""
    return str(request.param)


@pytest.fixture
def instrumentor(name: str, telemetry: Telemetry, quiet: object) -> Iterator[Instrumentor]:
    """The instrumentor, not instrumented, and taken out again at the end."""
    made: Instrumentor = OURS[name].load()()
    yield made
    if made.is_instrumented_by_opentelemetry:
        made.uninstrument()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors that hooks of the application get."""
    heard: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, tb: heard.append(error))
    monkeypatch.setattr(threading, "excepthook", lambda args: heard.append(args.exc_value))
    monkeypatch.setenv("OTEL_DISTRO_HOST_METRICS", "true")
    return heard


def places() -> dict[str, object]:
    """Return everything that instrumentors could patch in the modules they patch."""
    owners: list[Any] = [
        os,
        sys,
        threading,
        threading.Thread,
        flask.Flask,
        logging,
        logging.Logger,
        asyncio.base_events.BaseEventLoop,
    ]
    return {f"{owner!r}.{key}": value for owner in owners for key, value in vars(owner).items()}


def recorded(telemetry: Telemetry) -> set[str]:
    """Return the names of all spans, events and metrics; a plain log record has the empty name."""
    return {
        *(span.name for span in telemetry.spans()),
        *(found.log_record.event_name or "" for found in telemetry.logs()),
        *telemetry.metrics(),
    }


def test_each_has_its_case() -> None:
    """Every entry point of the distribution is known here, and lies where its name says."""
    assert OURS.keys() == CASES.keys()
    for name, point in OURS.items():
        words = "".join(word.capitalize() for word in name.split("_"))
        assert point.value == f"otel_distro.instrumentation.{name}:{words}Instrumentor"


def test_each_is_loaded_by_the_boot() -> None:
    """Every entry point of ours has a row in the tables that bring it, with the same place."""
    rows = {row[0]: row[1] for row in triggers.ALWAYS} | {row[1]: row[2] for row in triggers.ON_IMPORT}
    rows |= {row[3]: row[4] for row in triggers.FIRST_CALL if row[4]}
    assert {name: point.value for name, point in OURS.items()}.items() <= rows.items()


def test_registered_under_our_distribution_only() -> None:
    """No other installed package registers an instrumentor by one of our names."""
    from importlib.metadata import entry_points

    points: list[EntryPoint] = [p for p in entry_points(group="opentelemetry_instrumentor") if p.name in OURS]
    assert sorted(p.value for p in points) == sorted(p.value for p in OURS.values())


def test_uninstrument_restores_the_very_same_objects(instrumentor: Instrumentor) -> None:
    """After ``uninstrument()`` every place holds the very object it held before."""
    before = places()
    instrumentor.instrument()
    instrumentor.uninstrument()
    after = places()
    assert before.keys() == after.keys()
    assert [key for key in before if before[key] is not after[key]] == []


def test_twice_is_harmless(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Instrumenting twice records once; uninstrumenting twice restores once; afterwards nothing is recorded."""
    before = places()
    instrumentor.instrument()
    once = places()
    instrumentor.instrument()
    type(instrumentor)()
    assert [key for key, value in places().items() if value is not once[key]] == []
    CASES[name].work[0]()
    assert len(telemetry.logs()) <= 1
    instrumentor.uninstrument()
    instrumentor.uninstrument()
    assert [key for key, value in places().items() if value is not before[key]] == []
    logs = len(telemetry.logs())
    CASES[name].work[0]()
    assert len(telemetry.logs()) == logs
    assert not {key for key in telemetry.metrics() if key.startswith(("process.", "system."))}


def test_can_be_instrumented_again(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Taken out and put in again it records as at first."""
    instrumentor.instrument()
    instrumentor.uninstrument()
    instrumentor.instrument()
    CASES[name].work[0]()
    assert recorded(telemetry) & CASES[name].names


def test_other_tool_that_patched_over_us_keeps_its_place(instrumentor: Instrumentor) -> None:
    """``uninstrument()`` takes out what is ours only: what somebody put over it stays."""
    instrumentor.instrument()
    patched = [(owner, key) for owner, key, _, _ in instrumentor._places()]
    before = [getattr(owner, key) for owner, key in patched]
    theirs = [lambda *args, found=found, **kwargs: found(*args, **kwargs) for found in before]
    for (owner, key), function in zip(patched, theirs, strict=True):
        setattr(owner, key, function)
    instrumentor.uninstrument()
    try:
        assert [getattr(owner, key) for owner, key in patched] == theirs
    finally:
        for (owner, key), found in zip(patched, before, strict=True):
            setattr(owner, key, found.__wrapped__)


def test_only_declared_names(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Whatever happens, what is recorded has the names that are declared for it."""
    instrumentor.instrument()
    for work in CASES[name].work:
        work()
    assert recorded(telemetry)
    assert recorded(telemetry) <= CASES[name].names
    declared = {attribute.name for attribute in s.attributes()}
    for found in telemetry.logs():
        assert set(found.log_record.attributes or {}) <= declared
    for metric in telemetry.metrics().values():
        assert {key for point in metric.data.data_points for key in point.attributes or {}} <= declared


def test_suppressed(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Within ``suppress_instrumentation()`` no call is recorded; see :class:`Case` for what is no call."""
    instrumentor.instrument()
    with suppress_instrumentation():
        CASES[name].work[0]()
        seen = recorded(telemetry)
    assert list(telemetry.spans()) == []
    assert bool(seen) is not CASES[name].suppressible


def test_error_of_ours_does_not_reach_the_application(
    instrumentor: Instrumentor,
    telemetry: Telemetry,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    swallowed: list[str],
    quiet: list[BaseException],
) -> None:
    """With our half broken the application does what it does, its hooks are called, and we say so."""

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(CASES[name].inside, broken)
    instrumentor.instrument()
    for work in CASES[name].work:
        work()
    telemetry.metrics()
    assert [str(error) for error in quiet if "ours" in str(error)] == []
    assert swallowed
    assert {line.partition(": ")[2] for line in swallowed} == {"RuntimeError: ours"}
    swallowed.clear()


def test_error_of_the_application_passes_unchanged(instrumentor: Instrumentor, quiet: list[BaseException]) -> None:
    """What the application raises through a place that we patch is the very object it raised."""
    error = ValueError("application")

    class Failing(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise error

    logger = logging.getLogger("made.contract")
    logger.addHandler(Failing())
    instrumentor.instrument()
    try:
        with pytest.raises(ValueError, match="application") as caught:
            log()
        assert caught.value is error
        raise_in_main()
        assert [str(heard) for heard in quiet] == ["application"]
    finally:
        logger.handlers.clear()
