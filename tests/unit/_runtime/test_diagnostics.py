"""What we say about ourselves is single lines on stderr, few, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from otel_distro._runtime import diagnostics
from otel_distro._runtime.diagnostics import say


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line was said before the test."""
    monkeypatch.setattr(diagnostics, "_last", {})


def test_line_is_ours(capfd: pytest.CaptureFixture[str]) -> None:
    """Each line says who speaks, once."""
    say("hello")
    say("otel-distro: again")
    assert capfd.readouterr().err == "otel-distro: hello\notel-distro: again\n"


def test_repeats_are_silent_for_a_minute(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cause is told once a minute, another one at once."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for words, cause in (("down 1", "down"), ("down 2", "down"), ("up", "up"), ("line", None), ("line", None)):
        say(words, cause)
    assert capfd.readouterr().err.splitlines() == ["otel-distro: down 1", "otel-distro: up", "otel-distro: line"]
    now[0] += 59.9
    say("down 3", "down")
    assert capfd.readouterr().err == ""
    now[0] += 0.2
    say("down 4", "down")
    assert capfd.readouterr().err == "otel-distro: down 4\n"


def test_memory_is_bounded(capfd: pytest.CaptureFixture[str]) -> None:
    """A cause that is new every time does not grow anything without end."""
    for number in range(5000):
        say(str(number))
    assert len(diagnostics._last) <= 1001


@pytest.mark.parametrize("value", ["off", " OFF "])
def test_setting_silences(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """``OTEL_DISTRO_DIAGNOSTICS=off`` silences all of it."""
    monkeypatch.setenv("OTEL_DISTRO_DIAGNOSTICS", value)
    say("hello")
    assert capfd.readouterr().err == ""


def test_any_text_can_be_said(capfd: pytest.CaptureFixture[str]) -> None:
    """Text that is no valid Unicode is written escaped."""
    say("caf\u00e9 \udcff")
    assert capfd.readouterr().err == "otel-distro: caf\u00e9 \\udcff\n"


@pytest.mark.parametrize("state", ["closed", "full"])
def test_stderr_that_takes_nothing(state: str) -> None:
    """Where nobody can listen, speaking does nothing."""
    script = "import os, sys\nfrom otel_distro._runtime.diagnostics import say\n"
    script += "os.close(2)\n" if state == "closed" else "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
    script += "say('hello')\nprint('alive')\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "alive\n"


def test_line_goes_past_python_streams(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that replaces ``sys.stderr`` gets none of our lines in it."""

    class Refusing:
        def write(self, _: str) -> int:
            raise AssertionError

    monkeypatch.setattr(sys, "stderr", Refusing())
    say("hello")
    os.write(2, b"")
    assert capfd.readouterr().err == "otel-distro: hello\n"
