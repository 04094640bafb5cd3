"""Business events: what they carry, and that they neither raise nor get lost."""

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
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test had said is said again."""
    monkeypatch.setattr(diagnostics, "_last", {})


@pytest.mark.parametrize(
    ("outcome", "severity", "said"),
    [
        ("success", ("INFO", 9), "order.paid succeeded for user 7"),
        ("failure", ("WARN", 13), "order.paid failed for user 7"),
        ("unknown", ("INFO", 9), "order.paid ended with unknown outcome for user 7"),
    ],
)
def test_event_has_fixed_fields_and_those_it_was_given(
    telemetry: Telemetry, outcome: Any, severity: tuple[str, int], said: str
) -> None:
    """Name, outcome, user, a sentence, the active trace, and every other field under its own name and in its own type."""
    with trace.get_tracer("app").start_as_current_span("checkout") as span:
        log.event("order.paid", outcome=outcome, user=7, amount=59.9, items=["a", 2], gift=True, note=None)

    (found,) = telemetry.logs()
    record = found.log_record
    assert record.event_name == "order.paid"
    assert (record.severity_text, record.severity_number and record.severity_number.value) == severity
    assert record.body == said
    assert record.attributes == {
        "otel_distro.event.outcome": outcome,
        "user.id": "7",
        "amount": 59.9,
        "items": mixed("a", 2),
        "gift": True,
    }
    assert record.trace_id == span.get_span_context().trace_id
    assert record.timestamp


def test_fields_may_have_any_name(telemetry: Telemetry) -> None:
    """A field called ``name``, and names with dots; what is fixed cannot be overwritten."""
    log.event("order.paid", name="x", attributes={"shop.channel": "web", schema.EVENT_OUTCOME.name: "lost"})
    (found,) = telemetry.logs()
    assert found.log_record.attributes == {
        "name": "x",
        "shop.channel": "web",
        schema.EVENT_OUTCOME.name: "success",
    }


def test_bad_names_and_outcomes_cost_a_line_each(telemetry: Telemetry, capfd: pytest.CaptureFixture[str]) -> None:
    """The event is sent all the same, with what it was given."""
    bad: Any = "Paid!"
    log.event("Order Paid", outcome=bad)
    log.event("order.4711.paid")
    first, second = telemetry.logs()
    assert (first.log_record.event_name, second.log_record.event_name) == ("order_paid", "unnamed")
    assert first.log_record.attributes == {
        schema.EVENT_GIVEN_NAME.name: "Order Paid",
        schema.EVENT_OUTCOME.name: "unknown",
    }
    assert len(capfd.readouterr().err.splitlines()) == 3


def test_without_telemetry_nothing_happens(capfd: pytest.CaptureFixture[str]) -> None:
    """In a process without telemetry an event is nothing, and nothing is said."""
    log.event("order.paid", user=7)
    assert capfd.readouterr() == ("", "")


PROGRAM = """
from otel_distro import _boot, log
print(_boot._state["active"])
log.event("order.paid")
print(_boot._state["active"])
"""


@pytest.mark.parametrize("disabled", ["false", "true"])
def test_event_starts_telemetry(tmp_path: Path, disabled: str) -> None:
    """The first event starts what was waiting for a reason; where all is switched off it does nothing."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    ended = run(tmp_path, *RUN, sys.executable, "program.py", OTEL_SDK_DISABLED=disabled, **NOWHERE)
    assert ended.stderr == ""
    assert ended.stdout.split() == ["False", "False" if disabled == "true" else "True"]
