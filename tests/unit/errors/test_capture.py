"""``capture`` records what an application handles itself, once, and changes nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema as s
from otel_distro.errors import capture, exception_report
from otel_distro.errors.exception_report import describe
from tests.support.raising import error_of

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


def fail(message: str = "no stock") -> None:
    raise ValueError(message)


def events(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Return the attributes of the events so far."""
    return [dict(found.log_record.attributes or {}) for found in telemetry.logs()]


def test_section_swallows_and_records(telemetry: Telemetry) -> None:
    """An exception ends in the block, and is told with its section, its fields and the function that caught it."""
    with capture("refresh prices", shop="a1"):
        fail()
    (event,) = events(telemetry)
    assert event[s.EXCEPTION_SECTION.name] == "refresh prices"
    assert event["shop"] == "a1"
    assert (event[s.EXCEPTION_TYPE.name], event[s.EXCEPTION_MESSAGE.name]) == ("ValueError", "no stock")
    assert (event[s.EXCEPTION_HANDLER.name], event[s.EXCEPTION_HANDLED.name]) == ("capture", True)
    assert event[s.EXCEPTION_CAUGHT_IN.name] == f"{__name__}.test_section_swallows_and_records"
    assert event[s.CODE_FUNCTION_NAME.name] == f"{__name__}.fail"
    assert event[s.EXCEPTION_STACKTRACE.name].endswith("ValueError: no stock\n")
    (point,) = telemetry.metric(s.PYTHON_EXCEPTIONS.name)
    assert point.value == 1
    assert set(point.attributes) == {attribute.name for attribute in s.PYTHON_EXCEPTIONS.attributes}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_passes(telemetry: Telemetry, kind: type[BaseException]) -> None:
    """Interrupts and exits are neither swallowed nor recorded."""
    with pytest.raises(kind), capture("work"):
        raise kind
    capture(kind())
    assert events(telemetry) == []


def test_function_records_what_is_handled(telemetry: Telemetry) -> None:
    """With the exception, or without one inside ``except``; outside of one there is nothing to record."""
    capture()
    try:
        fail("first")
    except ValueError as error:
        capture(error, attempt=2)
    try:
        fail("second")
    except ValueError:
        capture()
    assert [(event[s.EXCEPTION_MESSAGE.name], event.get("attempt")) for event in events(telemetry)] == [
        ("first", 2),
        ("second", None),
    ]


def test_once_whoever_sees_it(telemetry: Telemetry) -> None:
    """Captured, then described by a log record, then uncaught: one event and one count; not captured again."""
    error = error_of(fail)
    assert isinstance(error, ValueError)
    capture(error)
    described = describe(error, handler="log", handled=True)
    exception_report.record(error, "main")
    capture(error)
    assert len(events(telemetry)) == 1
    assert described[s.EXCEPTION_STACKTRACE.name] == events(telemetry)[0][s.EXCEPTION_STACKTRACE.name]
    assert [point.value for point in telemetry.metric(s.PYTHON_EXCEPTIONS.name)] == [1]


def test_logged_by_a_hook_is_not_handled(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the program and is logged by the application's own ``sys.excepthook`` was caught by nobody."""
    error = error_of(fail)
    monkeypatch.setattr(sys, "last_value", error, raising=False)
    assert describe(error, handler="log", handled=True)[s.EXCEPTION_HANDLED.name] is False
    assert describe(error_of(fail), handler="log", handled=True)[s.EXCEPTION_HANDLED.name] is True


def test_section_within_a_section(telemetry: Telemetry) -> None:
    """Each keeps its own; sections can be used again."""
    section = capture("outer")
    for _ in range(2):
        with section, capture("inner"):
            fail()
    assert [event[s.EXCEPTION_SECTION.name] for event in events(telemetry)] == ["inner", "inner"]


def test_fields_cannot_do_harm(telemetry: Telemetry) -> None:
    """A field that cannot be printed costs itself, not the exception; the application notices nothing."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    with capture("work", hostile=Hostile()):
        fail()
    (event,) = events(telemetry)
    assert event["hostile"] == "<unprintable>"


def test_trace_of_the_span_it_left(telemetry: Telemetry) -> None:
    """Captured outside of the span it was raised in, the event belongs to that span."""
    tracer = telemetry.providers[0].get_tracer("shop")
    with tracer.start_as_current_span("caller") as caller, capture("work"):
        fail()
    (found,) = telemetry.logs()
    assert found.log_record.span_id == caller.get_span_context().span_id


def test_fingerprints_on_the_counter_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they are ``other`` there; the events keep theirs."""
    monkeypatch.setattr(exception_report, "_counted", {str(number) for number in range(199)})
    for kind in (ValueError, KeyError):
        with capture("work"):
            raise kind
    labels = [p.attributes[s.EXCEPTION_FINGERPRINT.name] for p in telemetry.metric(s.PYTHON_EXCEPTIONS.name)]
    assert sorted(labels)[1] == "other"
    assert "other" not in [event[s.EXCEPTION_FINGERPRINT.name] for event in events(telemetry)]


def test_import_is_light() -> None:
    """A program that imports it pays for nothing of OpenTelemetry."""
    program = (
        "import sys, otel_distro.errors\nprint([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    told = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert told.stdout == "[]\n"
