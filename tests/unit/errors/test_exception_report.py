"""An exception is one record and one count, also when several sources see it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from otel_distro import schema as s
from otel_distro.errors import capture, exception_report
from otel_distro.errors.exception_report import describe
from tests.support.raising import error_of

if TYPE_CHECKING:
    import pytest

    from otel_distro.testing import Telemetry


def fail(message: str = "no stock") -> None:
    raise ValueError(message)


def events(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Return the attributes of the events so far."""
    return [dict(found.log_record.attributes or {}) for found in telemetry.logs()]


def test_exception_seen_by_several_sources_is_recorded_once(telemetry: Telemetry) -> None:
    """Captured, logged, uncaught and captured again: one event and one count."""
    error = error_of(fail)
    assert isinstance(error, ValueError)
    capture(error)
    described = describe(error, handler="log", handled=True)
    exception_report.record(error, "main")
    capture(error)
    assert len(events(telemetry)) == 1
    assert described[s.EXCEPTION_STACKTRACE.name] == events(telemetry)[0][s.EXCEPTION_STACKTRACE.name]
    assert [point.value for point in telemetry.metric(s.PYTHON_EXCEPTIONS.name)] == [1]


def test_exception_logged_by_excepthook_is_not_handled(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that ends the program is unhandled, also if ``sys.excepthook`` logs it."""
    error = error_of(fail)
    monkeypatch.setattr(sys, "last_value", error, raising=False)
    assert describe(error, handler="log", handled=True)[s.EXCEPTION_HANDLED.name] is False
    assert describe(error_of(fail), handler="log", handled=True)[s.EXCEPTION_HANDLED.name] is True


def test_fingerprint_labels_beyond_the_limit_are_other(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the counter has the label ``other``; events keep their fingerprint."""
    monkeypatch.setattr(exception_report, "_counted", {str(number) for number in range(199)})
    for kind in (ValueError, KeyError):
        with capture("work"):
            raise kind
    labels = [p.attributes[s.EXCEPTION_FINGERPRINT.name] for p in telemetry.metric(s.PYTHON_EXCEPTIONS.name)]
    assert sorted(labels)[1] == "other"
    assert "other" not in [event[s.EXCEPTION_FINGERPRINT.name] for event in events(telemetry)]
