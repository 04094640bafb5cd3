"""Exceptions that own code catches and tells nobody of, where Python can say so; where it cannot, one line says that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema as s
from otel_distro._runtime import diagnostics
from otel_distro.errors import capture, deferred, rate_limit
from otel_distro.errors.sources import swallowed
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.failing import RefusedError, logs, raised, uncaught

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry

CAN = sys.version_info >= (3, 12)
MONITORED = pytest.mark.skipif(not CAN, reason="Python says what was caught from 3.12 on; see the test of older ones")


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The setting is on."""
    monkeypatch.setenv("OTEL_DISTRO_SWALLOWED_EXCEPTIONS", "true")
    monkeypatch.setattr(swallowed, "_limiter", rate_limit.Limiter())
    monkeypatch.setattr(diagnostics, "_last", {})
    request.getfixturevalue("instrumented")
    yield
    swallowed.stop()


def refuse(message: str = "no") -> None:
    """Fail."""
    raise RefusedError(message)


def swallow() -> None:
    """Catch a failure and tell nobody."""
    try:
        refuse()
    except RefusedError:
        return


def raise_on() -> None:
    """Catch a failure and raise it on."""
    try:
        refuse()
    except RefusedError as error:
        if error.args:
            raise
    finally:
        json.dumps({})


def control_flow() -> None:
    """What iterators, generators and cancelled tasks do is no failure."""
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
    """Return how many silent exceptions were counted."""
    deferred.drain()
    return sum(
        float(point.value)
        for point in telemetry.metric(s.PYTHON_EXCEPTIONS.name)
        if point.attributes[s.EXCEPTION_HANDLER.name] == "swallowed"
    )


@pytest.mark.skipif(CAN, reason="this Python can")
def test_older_versions_say_so(
    monkeypatch: pytest.MonkeyPatch, instrumented: object, telemetry: Telemetry, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line says what is missing, and nothing is recorded."""
    monkeypatch.setenv("OTEL_DISTRO_SWALLOWED_EXCEPTIONS", "true")
    monkeypatch.setattr(diagnostics, "_last", {})
    swallowed.start()
    swallow()
    assert capfd.readouterr().err == (
        "otel-distro: OTEL_DISTRO_SWALLOWED_EXCEPTIONS needs Python 3.12: silent exceptions are not recorded\n"
    )
    assert logs(telemetry, 0) == []


def test_off_by_default(instrumented: object, telemetry: Telemetry, capfd: pytest.CaptureFixture[str]) -> None:
    """Without the setting nothing is recorded, and nothing said."""
    swallow()
    assert logs(telemetry, 0) == []
    assert capfd.readouterr().err == ""
    monitoring: Any = getattr(sys, "monitoring", None)
    assert monitoring is None or "otel_distro" not in [monitoring.get_tool(tool) for tool in range(6)]


@MONITORED
def test_swallowed_exception_is_told(listening: object, telemetry: Telemetry) -> None:
    """With its stack trace and the function that caught it; of equal ones each is counted and the first is sent."""
    for _ in range(5):
        swallow()
    assert total(telemetry) == 5
    (record,) = logs(telemetry)
    assert (record.severity_text, record.attributes[s.EXCEPTION_HANDLED.name]) == ("WARN", True)
    assert record.attributes[s.EXCEPTION_CAUGHT_IN.name] == f"{__name__}.swallow"
    assert record.attributes[s.EXCEPTION_STACKTRACE.name].startswith("Traceback (most recent call last):\n")


@MONITORED
def test_once_a_minute_with_the_number_of_those_between(
    listening: object, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the window is over the next one says how many there were."""
    monkeypatch.setattr(swallowed, "_limiter", rate_limit.Limiter(window=3600))
    for _ in range(3):
        swallow()
    deferred.drain()
    for entry in swallowed._limiter._told.values():
        entry[0] = 0.0
    swallow()
    _, second = logs(telemetry, 2)
    assert second.attributes[s.LOG_DUPLICATES.name] == 2


@MONITORED
def test_what_is_told_is_not_silent(listening: object, telemetry: Telemetry) -> None:
    """Raised on and uncaught, captured, logged, or the reason of another that is told: no silent one."""
    try:
        raise_on()
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
def test_raised_on_and_swallowed_then(listening: object, telemetry: Telemetry) -> None:
    """It is told once, with the function that caught it in the end."""
    with contextlib.suppress(RefusedError):
        try:
            raise_on()
        except RefusedError:
            json.dumps({})
    assert total(telemetry) == 1


@MONITORED
def test_control_flow_and_libraries_are_left_out(listening: object, telemetry: Telemetry) -> None:
    """What a library catches itself, and what is no failure, is not told."""
    control_flow()
    json.loads('{"a": 1}')
    assert not hasattr(json, "missing")
    assert total(telemetry) == 0


@MONITORED
def test_place_is_given_back(listening: object) -> None:
    """Taken out, the place for another tool is free again; where there is none, one line says so."""
    monitoring: Any = getattr(sys, "monitoring", None)
    assert monitoring.get_tool(4) == "otel_distro"
    swallowed.stop()
    assert monitoring.get_tool(4) is None
