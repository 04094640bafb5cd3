"""Settings are read from the environment by the rules of the specification and never raise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_distro import settings
from otel_distro.settings import OTEL_DISTRO_EXIT_TIMEOUT, OTEL_DISTRO_HOST_METRICS, Setting

SWITCH = Setting("OTEL_DISTRO_X", "bool", False, "A switch.")
NUMBER = Setting("OTEL_DISTRO_X", "int", 7, "A number.")
SECONDS = Setting("OTEL_DISTRO_X", "float", 1.5, "A time.")
WORD = Setting("OTEL_DISTRO_X", "str", "none", "A word.")
CHOICE = Setting("OTEL_DISTRO_X", "choice", "auto", "A choice.", ("auto", "true"))


@pytest.mark.parametrize(
    ("setting", "text", "expected"),
    [
        (SWITCH, "true", True),
        (SWITCH, " TRUE ", True),
        (SWITCH, "false", False),
        (SWITCH, "1", False),
        (SWITCH, "yes", False),
        (NUMBER, "12", 12),
        (NUMBER, "0", 0),
        (NUMBER, "-1", 7),
        (NUMBER, "1.5", 7),
        (SECONDS, "0.25", 0.25),
        (SECONDS, "0", 0.0),
        (SECONDS, "nan", 1.5),
        (SECONDS, "inf", 1.5),
        (SECONDS, "2s", 1.5),
        (WORD, " shop ", "shop"),
        (CHOICE, "True", "true"),
        (CHOICE, "maybe", "auto"),
    ],
)
def test_value_is_parsed_by_kind(setting: Setting[Any], text: str, expected: object) -> None:
    """A good value is returned in its type; a bad one gives the default."""
    found = setting.get({"OTEL_DISTRO_X": text})
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("environ", [{}, {"OTEL_DISTRO_EXIT_TIMEOUT": ""}, {"OTEL_DISTRO_EXIT_TIMEOUT": "  "}])
def test_empty_value_counts_as_unset(environ: dict[str, str]) -> None:
    """An empty value counts as unset: the default holds."""
    assert OTEL_DISTRO_EXIT_TIMEOUT.get(environ) == 2.0


def test_get_without_argument_reads_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the value comes from the environment of the process."""
    monkeypatch.setenv("OTEL_DISTRO_HOST_METRICS", "FALSE")
    assert OTEL_DISTRO_HOST_METRICS.get() == "false"


def test_setting_is_a_flag_and_documented() -> None:
    """Each setting is a constant of its name, with a sentence as help and a valid default."""
    found = settings.settings()
    assert {setting.name for setting in found} >= {
        "OTEL_DISTRO_HOST_METRICS",
        "OTEL_DISTRO_PROCESS_METRICS_DELAY",
        "OTEL_DISTRO_EXIT_TIMEOUT",
        "OTEL_DISTRO_DIAGNOSTICS",
    }
    for setting in found:
        assert getattr(settings, setting.name) is setting
        assert setting.help.endswith(".")
        assert setting.parse(str(setting.default)) == setting.default


def test_import_of_settings_loads_nothing_else() -> None:
    """Importing settings and checking an empty environment loads only these two modules."""
    script = (
        "import os, sys; before = set(sys.modules)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from otel_distro import environment, settings\n"
        "environment.prepare({}); settings.OTEL_DISTRO_EXIT_TIMEOUT.get({})\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    root = str(Path(settings.__file__).parent.parent)
    command = [sys.executable, "-S", "-E", "-c", script, root]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    expected = {"otel_distro", "otel_distro.environment", "otel_distro.settings"}
    assert set(done.stdout.split()) - {"__future__"} == expected


@pytest.mark.parametrize(
    ("environ", "expected"), [({}, False), ({"OTEL_DISTRO_X": " "}, False), ({"OTEL_DISTRO_X": "bad"}, True)]
)
def test_setting_with_any_text_is_set(environ: dict[str, str], expected: bool) -> None:
    """A value that is not valid counts as set, an empty one does not."""
    assert NUMBER.is_set(environ) is expected
