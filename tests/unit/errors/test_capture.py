"""``capture`` and ``suppress`` record exceptions that the application handles itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema as s
from otel_distro.errors import capture, suppress

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


def fail(message: str = "no stock") -> None:
    raise ValueError(message)


def events(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Return the attributes of the events so far."""
    return [dict(found.log_record.attributes or {}) for found in telemetry.logs()]


def test_section_records_and_swallows_exception(telemetry: Telemetry) -> None:
    """The event has section, fields, and the function that caught the exception."""
    with capture("refresh prices", shop="a1"):
        fail()
    (event,) = events(telemetry)
    assert event[s.EXCEPTION_SECTION.name] == "refresh prices"
    assert event["shop"] == "a1"
    assert (event[s.EXCEPTION_TYPE.name], event[s.EXCEPTION_MESSAGE.name]) == ("ValueError", "no stock")
    assert (event[s.EXCEPTION_HANDLER.name], event[s.EXCEPTION_HANDLED.name]) == ("capture", True)
    assert event[s.EXCEPTION_CAUGHT_IN.name] == f"{__name__}.test_section_records_and_swallows_exception"
    assert event[s.CODE_FUNCTION_NAME.name] == f"{__name__}.fail"
    assert event[s.EXCEPTION_STACKTRACE.name].endswith("ValueError: no stock\n")
    (point,) = telemetry.metric(s.PYTHON_EXCEPTIONS.name)
    assert point.value == 1
    assert set(point.attributes) == {attribute.name for attribute in s.PYTHON_EXCEPTIONS.attributes}


def test_suppress_records_and_swallows_exception(telemetry: Telemetry) -> None:
    """It is the same as ``with capture("section")``."""
    with suppress("refresh prices", shop="a1"):
        fail()
    (event,) = events(telemetry)
    assert (event[s.EXCEPTION_SECTION.name], event["shop"]) == ("refresh prices", "a1")
    assert event[s.EXCEPTION_MESSAGE.name] == "no stock"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupt_or_exit_in_section_is_raised(telemetry: Telemetry, kind: type[BaseException]) -> None:
    """Interrupts and exits are neither swallowed nor recorded."""
    with pytest.raises(kind), capture("work"):
        raise kind
    capture(kind())
    assert events(telemetry) == []


def test_capture_call_records_given_or_handled_exception(telemetry: Telemetry) -> None:
    """With an argument, or without one inside ``except``; elsewhere nothing is recorded."""
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


def test_nested_section_records_the_inner_name(telemetry: Telemetry) -> None:
    """The innermost section records the exception; a section can be used again."""
    section = capture("outer")
    for _ in range(2):
        with section, capture("inner"):
            fail()
    assert [event[s.EXCEPTION_SECTION.name] for event in events(telemetry)] == ["inner", "inner"]


def test_unprintable_field_is_replaced(telemetry: Telemetry) -> None:
    """A field whose ``str()`` raises becomes a placeholder; the event is sent."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    with capture("work", hostile=Hostile()):
        fail()
    (event,) = events(telemetry)
    assert event["hostile"] == "<unprintable>"


def test_captured_exception_belongs_to_the_current_span(telemetry: Telemetry) -> None:
    """The event has the span in which the exception was captured."""
    tracer = telemetry.providers[0].get_tracer("shop")
    with tracer.start_as_current_span("caller") as caller, capture("work"):
        fail()
    (found,) = telemetry.logs()
    assert found.log_record.span_id == caller.get_span_context().span_id


def test_import_loads_no_opentelemetry() -> None:
    """Importing the module imports nothing of OpenTelemetry."""
    program = (
        "import sys, otel_distro.errors\nprint([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert ended.stdout == "[]\n"
