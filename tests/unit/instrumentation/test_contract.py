"""What every instrumentor of ours promises, found through its entry point: a new one is tested by being registered."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from importlib import import_module
from importlib.metadata import EntryPoint, distribution
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_distro import schema as s
from otel_distro._startup import triggers
from otel_distro.instrumentation import Instrumentor
from tests.support.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry

OURS = {
    point.name: point
    for point in distribution("otel-distro").entry_points
    if point.group == "opentelemetry_instrumentor"
}


def contract_of(name: str) -> Contract:
    """Return what the test module of an instrumentor says for this test."""
    module = import_module(f"tests.unit.instrumentation.test_{name}")
    contract: Contract = module.CONTRACT
    return contract


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
        logging,
        logging.Logger,
        asyncio.base_events.BaseEventLoop,
        *(owner for name in OURS for owner in contract_of(name).owners),
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
    """Every entry point of the distribution has a contract in its test module, and lies where its name says."""
    for name, point in OURS.items():
        assert contract_of(name).names
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
    contract_of(name).work[0]()
    assert len(telemetry.logs()) <= 1
    instrumentor.uninstrument()
    instrumentor.uninstrument()
    assert [key for key, value in places().items() if value is not before[key]] == []
    logs = len(telemetry.logs())
    contract_of(name).work[0]()
    assert len(telemetry.logs()) == logs
    assert not {key for key in telemetry.metrics() if key.startswith(("process.", "system."))}


def test_can_be_instrumented_again(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Taken out and put in again it records as at first."""
    instrumentor.instrument()
    instrumentor.uninstrument()
    instrumentor.instrument()
    contract_of(name).work[0]()
    assert recorded(telemetry) & contract_of(name).names


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
    for work in contract_of(name).work:
        work()
    assert recorded(telemetry)
    assert recorded(telemetry) <= contract_of(name).names
    declared = {attribute.name for attribute in s.attributes()}
    for found in telemetry.logs():
        assert set(found.log_record.attributes or {}) <= declared
    for metric in telemetry.metrics().values():
        assert {key for point in metric.data.data_points for key in point.attributes or {}} <= declared


def test_suppressed(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Within ``suppress_instrumentation()`` no call is recorded; see :class:`Contract` for what is no call."""
    instrumentor.instrument()
    with suppress_instrumentation():
        contract_of(name).work[0]()
        seen = recorded(telemetry)
    assert list(telemetry.spans()) == []
    assert bool(seen) is not contract_of(name).suppressible


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

    monkeypatch.setattr(contract_of(name).inside, broken)
    instrumentor.instrument()
    for work in contract_of(name).work:
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
            logger.error("application")
        assert caught.value is error
        sys.excepthook(ValueError, ValueError("application"), None)
        assert [str(heard) for heard in quiet] == ["application"]
    finally:
        logger.handlers.clear()
