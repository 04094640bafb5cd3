"""A guard swallows errors of telemetry and nothing else."""

from __future__ import annotations

import pytest

from otel_distro._runtime import diagnostics
from otel_distro._runtime.diagnostics import guard, report_failure


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line was written before the test."""
    monkeypatch.setattr(diagnostics, "_last", {})


def test_guard_with_an_error_reports_it_and_continues(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """One line names what failed, with which error and where; the program continues."""
    with guard("counting"):
        raise ValueError("bad\nvalue")
    line = capfd.readouterr().err
    assert line.startswith(f"otel-distro: counting failed: ValueError: bad value ({__file__}:")
    assert line.endswith("; the application is not affected [OD900]\n")
    assert line.count("\n") == 1
    assert swallowed == ["counting: ValueError: bad\nvalue"]
    swallowed.clear()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_guard_with_an_interrupt_or_exit_lets_it_pass(
    kind: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    """Interrupts and exits are not swallowed."""
    with pytest.raises(kind), guard("counting"):
        raise kind
    assert capfd.readouterr().err == ""


def test_guard_without_an_error_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is written where nothing failed."""
    with guard("counting"):
        pass
    assert capfd.readouterr().err == ""


def test_guard_with_repeated_failures_writes_one_line(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """A failure repeated a thousand times is one line, whatever its message; listeners get each."""
    for number in range(1000):
        with guard("counting"):
            raise ValueError(number)
    assert capfd.readouterr().err.count("\n") == 1
    assert len(swallowed) == 1000
    swallowed.clear()


def test_guard_with_an_unprintable_error_names_its_class(
    capfd: pytest.CaptureFixture[str], swallowed: list[str]
) -> None:
    """An error whose text raises is named by its class; a long text is cut."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    report_failure("speaking", MuteError())
    report_failure("writing", ValueError("x" * 100_000))
    first, second = capfd.readouterr().err.splitlines()
    assert first == "otel-distro: speaking failed: MuteError: <unprintable>; the application is not affected [OD900]"
    assert len(second) < 500
    swallowed.clear()


def test_guard_with_a_failing_listener_still_reports(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """A listener that raises does not break the report."""

    def broken(what: str, error: BaseException) -> None:
        raise RuntimeError(what)

    diagnostics.listeners.insert(0, broken)
    try:
        with guard("counting"):
            raise ValueError
    finally:
        diagnostics.listeners.remove(broken)
    assert "counting failed" in capfd.readouterr().err
    swallowed.clear()
