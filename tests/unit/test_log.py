"""Business events: fields, bad input, and the start of telemetry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro import log, schema
from otel_distro._runtime import diagnostics
from tests.support.processes import NOWHERE, RUN, run
from tests.support.release import mixed

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def reset_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the rate limit of messages."""
    monkeypatch.setattr(diagnostics, "_last", {})


@pytest.mark.parametrize(
    ("outcome", "severity", "body"),
    [
        ("success", ("INFO", 9), "order.paid succeeded for user 7"),
        ("failure", ("WARN", 13), "order.paid failed for user 7"),
        ("unknown", ("INFO", 9), "order.paid ended with unknown outcome for user 7"),
    ],
)
def test_event_has_fixed_and_given_fields(
    telemetry: Telemetry, outcome: Any, severity: tuple[str, int], body: str
) -> None:
    """Name, outcome, user, body, active trace, and typed attributes under their own names."""
    with trace.get_tracer("app").start_as_current_span("checkout") as span:
        log.event("order.paid", outcome=outcome, user=7, amount=59.9, items=["a", 2], gift=True, note=None)

    (found,) = telemetry.logs()
    record = found.log_record
    assert record.event_name == "order.paid"
    assert (record.severity_text, record.severity_number and record.severity_number.value) == severity
    assert record.body == body
    assert record.attributes == {
        "otel_distro.event.outcome": outcome,
        "user.id": "7",
        "amount": 59.9,
        "items": mixed("a", 2),
        "gift": True,
    }
    assert record.trace_id == span.get_span_context().trace_id
    assert record.timestamp


def test_field_names_cannot_override_fixed_ones(telemetry: Telemetry) -> None:
    """A field ``name`` and names with dots are kept; fixed fields cannot be overridden."""
    log.event("order.paid", name="x", attributes={"shop.channel": "web", schema.EVENT_OUTCOME.name: "lost"})
    (found,) = telemetry.logs()
    assert found.log_record.attributes == {
        "name": "x",
        "shop.channel": "web",
        schema.EVENT_OUTCOME.name: "success",
    }


def test_bad_names_and_outcomes_are_reported_once_each(telemetry: Telemetry, capfd: pytest.CaptureFixture[str]) -> None:
    """The events are sent, with the given name as an attribute."""
    bad: Any = "Paid!"
    log.event("Order Paid", outcome=bad)
    log.event("order.4711.paid")
    first, second = telemetry.logs()
    assert (first.log_record.event_name, second.log_record.event_name) == ("order_paid", "unnamed")
    assert first.log_record.attributes == {
        schema.EVENT_ORIGINAL_NAME.name: "Order Paid",
        schema.EVENT_OUTCOME.name: "unknown",
    }
    assert len(capfd.readouterr().err.splitlines()) == 3


def test_event_without_telemetry_does_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """In a process without telemetry nothing is printed."""
    log.event("order.paid", user=7)
    assert capfd.readouterr() == ("", "")


PROGRAM = """
from otel_distro import _boot, log
print(_boot.state.active)
log.event("order.paid")
print(_boot.state.active)
"""


@pytest.mark.parametrize("disabled", ["false", "true"])
def test_first_event_starts_telemetry(tmp_path: Path, disabled: str) -> None:
    """It activates the SDK, unless ``OTEL_SDK_DISABLED`` is true."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    ended = run(tmp_path, *RUN, sys.executable, "program.py", OTEL_SDK_DISABLED=disabled, **NOWHERE)
    assert ended.stderr == ""
    assert ended.stdout.split() == ["False", "False" if disabled == "true" else "True"]
