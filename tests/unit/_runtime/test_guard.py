"""What goes wrong in our half of a wrapper stays there; what is not ours passes."""

from __future__ import annotations

import pytest

from otel_distro._runtime import diagnostics
from otel_distro._runtime.diagnostics import guard, report_failure


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line was said before the test."""
    monkeypatch.setattr(diagnostics, "_last", {})


def test_error_of_ours_is_swallowed_and_told(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """One line names what failed, with which error and where; the program goes on."""
    with guard("counting"):
        raise ValueError("bad\nvalue")
    line = capfd.readouterr().err
    assert line.startswith(f"otel-distro: counting failed: ValueError: bad value ({__file__}:")
    assert line.endswith("; the application is not affected [OD900]\n")
    assert line.count("\n") == 1
    assert swallowed == ["counting: ValueError: bad\nvalue"]
    swallowed.clear()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_passes(kind: type[BaseException], capfd: pytest.CaptureFixture[str]) -> None:
    """Interrupts and exits are not ours to keep."""
    with pytest.raises(kind), guard("counting"):
        raise kind
    assert capfd.readouterr().err == ""


def test_success_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is said where nothing failed."""
    with guard("counting"):
        pass
    assert capfd.readouterr().err == ""


def test_same_failure_is_told_once(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """A failure that comes back a thousand times is one line, whatever its message is; listeners hear each."""
    for number in range(1000):
        with guard("counting"):
            raise ValueError(number)
    assert capfd.readouterr().err.count("\n") == 1
    assert len(swallowed) == 1000
    swallowed.clear()


def test_error_that_cannot_be_printed(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """An error whose text cannot be had is told by its class; a long one is cut."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    report_failure("speaking", MuteError())
    report_failure("writing", ValueError("x" * 100_000))
    first, second = capfd.readouterr().err.splitlines()
    assert first == "otel-distro: speaking failed: MuteError: <unprintable>; the application is not affected [OD900]"
    assert len(second) < 500
    swallowed.clear()


def test_listener_that_fails_harms_nobody(capfd: pytest.CaptureFixture[str], swallowed: list[str]) -> None:
    """Whoever listens to reports cannot break what reports."""

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
