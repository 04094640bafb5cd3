"""Promises of every instrumentor. A new one is tested once its entry point is registered."""

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

ENTRY_POINTS = {
    point.name: point
    for point in distribution("otel-distro").entry_points
    if point.group == "opentelemetry_instrumentor"
}


def contract_of(name: str) -> Contract:
    """Return what the test module of an instrumentor says for this test."""
    module = import_module(f"tests.unit.instrumentation.test_{name}")
    contract: Contract = module.CONTRACT
    return contract


@pytest.fixture(params=sorted(ENTRY_POINTS))
def name(request: pytest.FixtureRequest) -> str:
    """The name of each instrumentor in turn."""
    return str(request.param)


@pytest.fixture
def instrumentor(name: str, telemetry: Telemetry, quiet: object) -> Iterator[Instrumentor]:
    """The instrumentor, not installed yet; it is uninstalled at the end."""
    made: Instrumentor = ENTRY_POINTS[name].load()()
    yield made
    if made.is_instrumented_by_opentelemetry:
        made.uninstrument()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors that the application's hooks were called with."""
    errors: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, tb: errors.append(error))
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args.exc_value))
    monkeypatch.setenv("OTEL_DISTRO_HOST_METRICS", "true")
    return errors


def places() -> dict[str, object]:
    """Return every attribute that instrumentors could patch."""
    owners: list[Any] = [
        os,
        sys,
        threading,
        threading.Thread,
        logging,
        logging.Logger,
        asyncio.base_events.BaseEventLoop,
        *(owner for name in ENTRY_POINTS for owner in contract_of(name).owners),
    ]
    return {f"{owner!r}.{key}": value for owner in owners for key, value in vars(owner).items()}


def recorded(telemetry: Telemetry) -> set[str]:
    """Return the names of all spans, events and metrics; that of a log record is empty."""
    return {
        *(span.name for span in telemetry.spans()),
        *(found.log_record.event_name or "" for found in telemetry.logs()),
        *telemetry.metrics(),
    }


def test_instrumentor_has_a_contract_and_its_module() -> None:
    """Every entry point has a contract in its test module, and is in the module of its name."""
    for name, point in ENTRY_POINTS.items():
        assert contract_of(name).names
        words = "".join(word.capitalize() for word in name.split("_"))
        assert point.value == f"otel_distro.instrumentation.{name}:{words}Instrumentor"


def test_entry_point_of_an_instrumentor_has_a_trigger() -> None:
    """Every entry point has a row in a table of triggers, with the same path."""
    rows = {row[0]: row[1] for row in triggers.ALWAYS} | {row[1]: row[2] for row in triggers.ON_IMPORT}
    rows |= {row[3]: row[4] for row in triggers.FIRST_CALL if row[4]}
    assert {name: point.value for name, point in ENTRY_POINTS.items()}.items() <= rows.items()


def test_entry_point_names_are_registered_once() -> None:
    """No other installed package registers an instrumentor under one of these names."""
    from importlib.metadata import entry_points

    points: list[EntryPoint] = [p for p in entry_points(group="opentelemetry_instrumentor") if p.name in ENTRY_POINTS]
    assert sorted(p.value for p in points) == sorted(p.value for p in ENTRY_POINTS.values())


def test_uninstrument_restores_the_original_objects(instrumentor: Instrumentor) -> None:
    """After ``uninstrument()`` every attribute is the object it was before."""
    before = places()
    instrumentor.instrument()
    instrumentor.uninstrument()
    after = places()
    assert before.keys() == after.keys()
    assert [key for key in before if before[key] is not after[key]] == []


def test_second_instrument_and_uninstrument_change_nothing(
    instrumentor: Instrumentor, telemetry: Telemetry, name: str
) -> None:
    """Installed twice it records once; uninstalled twice it records nothing."""
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


def test_reinstalled_instrumentor_records_again(instrumentor: Instrumentor, telemetry: Telemetry, name: str) -> None:
    """Uninstalled and installed again it records as at first."""
    instrumentor.instrument()
    instrumentor.uninstrument()
    instrumentor.instrument()
    contract_of(name).work[0]()
    assert recorded(telemetry) & contract_of(name).names


def test_uninstrument_keeps_patches_of_other_tools(instrumentor: Instrumentor) -> None:
    """``uninstrument()`` removes its own patches only: later patches of other tools stay."""
    instrumentor.instrument()
    patched = [(owner, key) for owner, key, _, _ in instrumentor._patches()]
    before = [getattr(owner, key) for owner, key in patched]
    other_tool = [lambda *args, found=found, **kwargs: found(*args, **kwargs) for found in before]
    for (owner, key), function in zip(patched, other_tool, strict=True):
        setattr(owner, key, function)
    instrumentor.uninstrument()
    try:
        assert [getattr(owner, key) for owner, key in patched] == other_tool
    finally:
        for (owner, key), found in zip(patched, before, strict=True):
            setattr(owner, key, found.__wrapped__)


def test_recorded_names_and_attributes_are_declared(
    instrumentor: Instrumentor, telemetry: Telemetry, name: str
) -> None:
    """Everything recorded has names and attributes of the schema."""
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


def test_instrumentor_while_suppressed_records_no_call(
    instrumentor: Instrumentor, telemetry: Telemetry, name: str
) -> None:
    """Within ``suppress_instrumentation()`` no call is recorded; see :class:`Contract`."""
    instrumentor.instrument()
    with suppress_instrumentation():
        contract_of(name).work[0]()
        seen = recorded(telemetry)
    assert list(telemetry.spans()) == []
    assert bool(seen) is not contract_of(name).suppressible


def test_broken_instrumentor_does_not_affect_the_application(
    instrumentor: Instrumentor,
    telemetry: Telemetry,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    swallowed: list[str],
    quiet: list[BaseException],
) -> None:
    """The application and its hooks work, and the failure is reported."""

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


def test_application_exception_passes_unchanged(instrumentor: Instrumentor, quiet: list[BaseException]) -> None:
    """An exception raised through a patched function is the same object."""
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
