"""Messages about the distribution are single lines on stderr, few, and never raise."""

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
    """No line was written before the test."""
    monkeypatch.setattr(diagnostics, "_last", {})


def test_say_writes_one_line_with_the_prefix(capfd: pytest.CaptureFixture[str]) -> None:
    """Each line begins with the prefix, once."""
    say("hello")
    say("otel-distro: again")
    assert capfd.readouterr().err == "otel-distro: hello\notel-distro: again\n"


def test_say_with_the_same_cause_repeats_after_a_minute(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same cause is written once a minute, another one at once."""
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


def test_say_with_ever_new_causes_keeps_bounded_memory(capfd: pytest.CaptureFixture[str]) -> None:
    """A cause that is new every time does not grow the table without end."""
    for number in range(5000):
        say(str(number))
    assert len(diagnostics._last) <= 1001


@pytest.mark.parametrize("value", ["off", " OFF "])
def test_say_with_diagnostics_off_writes_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """``OTEL_DISTRO_DIAGNOSTICS=off`` silences all of it."""
    monkeypatch.setenv("OTEL_DISTRO_DIAGNOSTICS", value)
    say("hello")
    assert capfd.readouterr().err == ""


def test_say_with_invalid_unicode_escapes_it(capfd: pytest.CaptureFixture[str]) -> None:
    """Text that is not valid Unicode is written escaped."""
    say("caf\u00e9 \udcff")
    assert capfd.readouterr().err == "otel-distro: caf\u00e9 \\udcff\n"


@pytest.mark.parametrize("state", ["closed", "full"])
def test_say_with_an_unusable_stderr_does_nothing(state: str) -> None:
    """Where stderr cannot be written to, nothing happens."""
    script = "import os, sys\nfrom otel_distro._runtime.diagnostics import say\n"
    script += "os.close(2)\n" if state == "closed" else "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
    script += "say('hello')\nprint('alive')\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "alive\n"


def test_say_with_sys_stderr_replaced_writes_to_the_descriptor(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that replaces ``sys.stderr`` gets no line in it."""

    class Refusing:
        def write(self, _: str) -> int:
            raise AssertionError

    monkeypatch.setattr(sys, "stderr", Refusing())
    say("hello")
    os.write(2, b"")
    assert capfd.readouterr().err == "otel-distro: hello\n"
