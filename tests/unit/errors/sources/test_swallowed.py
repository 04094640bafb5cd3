"""Swallowed exceptions are recorded from Python 3.12 on; older versions print one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.exceptions import NotFound, abort

from otel_distro import schema as s
from otel_distro._runtime import diagnostics
from otel_distro.errors import capture, deferred, rate_limit
from otel_distro.errors.sources import swallowed
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.failing import RefusedError, logs, raised, uncaught

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry

SUPPORTED = sys.version_info >= (3, 12)
MONITORED = pytest.mark.skipif(
    not SUPPORTED, reason="needs sys.monitoring (3.12); older versions have a test of their own"
)


@pytest.fixture
def monitored(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch the setting on."""
    monkeypatch.setenv("OTEL_DISTRO_SWALLOWED_EXCEPTIONS", "true")
    monkeypatch.setattr(swallowed, "_limiter", rate_limit.Limiter())
    monkeypatch.setattr(diagnostics, "_last", {})
    request.getfixturevalue("instrumented")
    yield
    swallowed.stop()


def refuse(message: str = "no") -> None:
    """Raise the exception of the application."""
    raise RefusedError(message)


def swallow() -> None:
    """Catch an exception without reporting it."""
    try:
        refuse()
    except RefusedError:
        return


def reraise() -> None:
    """Catch an exception and re-raise it."""
    try:
        refuse()
    except RefusedError as error:
        if error.args:
            raise
    finally:
        json.dumps({})


def control_flow() -> None:
    """Raise exceptions of iterators, generators and cancelled tasks, which are no failures."""
    with contextlib.suppress(StopIteration):
        next(iter(()))
    generator = (number for number in range(3))
    next(generator)
    generator.close()

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return

    asyncio.run(main())


def total(telemetry: Telemetry) -> float:
    """Return how many swallowed exceptions were counted."""
    deferred.drain()
    return sum(
        float(point.value)
        for point in telemetry.metric(s.PYTHON_EXCEPTIONS.name)
        if point.attributes[s.EXCEPTION_HANDLER.name] == "swallowed"
    )


@pytest.mark.skipif(SUPPORTED, reason="this Python has sys.monitoring")
def test_start_before_python_312_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, instrumented: object, telemetry: Telemetry, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line names the version needed, and nothing is recorded."""
    monkeypatch.setenv("OTEL_DISTRO_SWALLOWED_EXCEPTIONS", "true")
    monkeypatch.setattr(diagnostics, "_last", {})
    swallowed.start()
    swallow()
    assert capfd.readouterr().err == (
        "otel-distro: OTEL_DISTRO_SWALLOWED_EXCEPTIONS needs Python 3.12: swallowed exceptions are not recorded [OD502]\n"
    )
    assert logs(telemetry, 0) == []


def test_swallowed_exception_is_not_recorded_by_default(
    instrumented: object, telemetry: Telemetry, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the setting nothing is recorded and nothing is printed."""
    swallow()
    assert logs(telemetry, 0) == []
    assert capfd.readouterr().err == ""
    monitoring: Any = getattr(sys, "monitoring", None)
    assert monitoring is None or "otel_distro" not in [monitoring.get_tool(tool) for tool in range(6)]


@MONITORED
def test_swallowed_exceptions_are_counted_and_the_first_is_sent(monitored: object, telemetry: Telemetry) -> None:
    """The record has the stack trace and the function that caught the exception."""
    for _ in range(5):
        swallow()
    assert total(telemetry) == 5
    (record,) = logs(telemetry)
    assert (record.severity_text, record.attributes[s.EXCEPTION_HANDLED.name]) == ("WARN", True)
    assert record.attributes[s.EXCEPTION_CAUGHT_IN.name] == f"{__name__}.swallow"
    assert record.attributes[s.EXCEPTION_STACKTRACE.name].startswith("Traceback (most recent call last):\n")


@MONITORED
def test_next_window_sends_the_number_suppressed(
    monitored: object, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the window the next record has the number of those suppressed in it."""
    monkeypatch.setattr(swallowed, "_limiter", rate_limit.Limiter(window=3600))
    for _ in range(3):
        swallow()
    deferred.drain()
    for entry in swallowed._limiter._entries.values():
        entry[0] = 0.0
    swallow()
    _, second = logs(telemetry, 2)
    assert second.attributes[s.LOG_DUPLICATES.name] == 2


@MONITORED
def test_reported_exception_is_not_swallowed(monitored: object, telemetry: Telemetry) -> None:
    """Re-raised and uncaught, captured, logged, or linked to one that is captured."""
    try:
        reraise()
    except RefusedError as error:
        uncaught(error)
    with capture("work"):
        refuse()
    LogRecordsInstrumentor().instrument()
    try:
        try:
            refuse()
        except RefusedError:
            logging.getLogger("shop").exception("logged")
    finally:
        LogRecordsInstrumentor().uninstrument()
    try:
        refuse()
    except RefusedError as error:
        capture(raised(ValueError(str(error))))
    assert total(telemetry) == 0


@MONITORED
def test_exception_reraised_then_swallowed_is_counted_once(monitored: object, telemetry: Telemetry) -> None:
    """It is counted once, when it is freed."""
    with contextlib.suppress(RefusedError):
        try:
            reraise()
        except RefusedError:
            json.dumps({})
    assert total(telemetry) == 1


@MONITORED
def test_control_flow_and_library_exceptions_are_ignored(monitored: object, telemetry: Telemetry) -> None:
    """Exceptions that a library catches itself, or that are no failures, are not counted."""
    control_flow()
    with contextlib.suppress(NotFound):
        abort(404)
    json.loads('{"a": 1}')
    assert not hasattr(json, "missing")
    assert total(telemetry) == 0


@MONITORED
def test_stop_frees_the_tool_id(monitored: object) -> None:
    """After ``stop()`` another tool can use the id."""
    monitoring: Any = getattr(sys, "monitoring", None)
    assert monitoring.get_tool(4) == "otel_distro"
    swallowed.stop()
    assert monitoring.get_tool(4) is None
