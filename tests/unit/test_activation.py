"""Instrumentors are independent: one that fails prints one line, and the others run."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, requires
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from otel_distro._startup import compatibility
from tests.support.processes import NOWHERE, RUN, run

if TYPE_CHECKING:
    from pathlib import Path

INSTRUMENTORS = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
import sys

class Base(BaseInstrumentor):
    _instance = None
    wants = ()
    def instrumentation_dependencies(self): return self.wants
    def _instrument(self, **kwargs): sys.loaded = [*getattr(sys, "loaded", []), type(self).__name__]
    def _uninstrument(self, **kwargs): pass

class First(Base): pass
class Second(Base): pass
class Failing(Base):
    def _instrument(self, **kwargs): raise ValueError("cannot patch")
class Picky(Base):
    wants = ("flask < 0.1",)
class Lonely(Base):
    wants = ("made-nowhere >= 1",)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with a package that registers instrumentors, good ones and others, in this order."""
    info = tmp_path / "made_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-plugin\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"made_{name.lower()} = made_plugin:{name}" for name in ("First", "Failing", "Picky", "Lonely")]
    lines += [
        "made_broken = made_broken:Anything",
        "made_absent = made_plugin:Absent",
        "made_second = made_plugin:Second",
    ]
    hooks = ["made_pre = made_plugin:nothing_of_this_name"]
    text = "\n".join(["[opentelemetry_instrumentor]", *lines, "", "[opentelemetry_pre_instrument]", *hooks, ""])
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
    (tmp_path / "made_plugin.py").write_text(INSTRUMENTORS, encoding="utf-8")
    (tmp_path / "made_broken.py").write_text("1 / 0\n", encoding="utf-8")
    return tmp_path


def test_instrumentor_that_fails_does_not_stop_the_next(plugin: Path) -> None:
    """A broken module, a missing class, a failing patch, an unsupported version: a line each."""
    script = "from opentelemetry import trace; trace.get_tracer('x'); import sys; print(sys.loaded)"
    ended = run(plugin, *RUN, sys.executable, "-c", script, PYTHONPATH=str(plugin), **NOWHERE)
    assert (ended.returncode, ended.stdout) == (0, "['First', 'Second']\n")
    lines = ended.stderr.splitlines()
    assert all(line.startswith("otel-distro: ") for line in lines)
    told = {
        name: [line for line in lines if name in line.partition("(")[0]]
        for name in ("made_failing", "made_picky", "made_broken", "made_absent", "made_pre")
    }
    assert {name: len(found) for name, found in told.items()} == dict.fromkeys(told, 1)
    assert len(lines) == len(told)
    assert "ValueError: cannot patch" in told["made_failing"][0]
    assert "flask < 0.1" in told["made_picky"][0]
    assert "ZeroDivisionError" in told["made_broken"][0]


def test_instrumentor_failures_are_counted(plugin: Path) -> None:
    """``otel_distro.instrumentor.failures`` counts each by name and error."""
    script = (
        "from opentelemetry import metrics; metrics.get_meter('x'); import json\n"
        "metrics.get_meter_provider().force_flush()\n"
    )
    changes = {**NOWHERE, "OTEL_METRICS_EXPORTER": "console", "PYTHONPATH": str(plugin)}
    ended = run(plugin, *RUN, sys.executable, "-c", script, **changes)
    assert '"otel_distro.instrumentor.failures"' in ended.stdout
    for name, error in (("made_failing", "ValueError"), ("made_broken", "ZeroDivisionError")):
        assert f'"otel_distro.instrumentor.name": "{name}"' in ended.stdout
        assert f'"error.type": "{error}"' in ended.stdout


def test_entry_points_are_registered() -> None:
    """The distro, the configurator and the settings are found by upstream's commands."""
    found = {
        group: [point.value for point in entry_points(group=group) if point.name == "otel_distro"]
        for group in ("opentelemetry_distro", "opentelemetry_configurator", "opentelemetry_environment_variables")
    }
    assert found == {
        "opentelemetry_distro": ["otel_distro.distro:OTelDistro"],
        "opentelemetry_configurator": ["otel_distro.configurator:Configurator"],
        "opentelemetry_environment_variables": ["otel_distro.settings"],
    }


def test_installed_opentelemetry_is_of_a_tested_train() -> None:
    """The versions that the tests run with are in the range."""
    assert compatibility.version_conflict() == ""


@pytest.mark.parametrize(
    ("package", "found", "required"),
    [
        ("opentelemetry-api", "1.30.0", "1.44.x to 1.45.x required"),
        ("opentelemetry-api", "1.46.0", "1.44.x to 1.45.x required"),
        ("opentelemetry-sdk", "1.46.0", ".x required"),
        ("opentelemetry-semantic-conventions", "0.64b0", "bx required"),
        ("opentelemetry-instrumentation", None, "not found"),
    ],
)
def test_other_train_names_the_command_that_fixes_it(
    package: str, found: str | None, required: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version outside of the range or of another train gives one line with the command."""
    installed = compatibility.installed_versions
    monkeypatch.setattr(compatibility, "installed_versions", lambda names: {**installed(names), package: found or ""})
    line = compatibility.version_conflict()
    assert line.startswith(f"{package} {found or 'not'} found, ")
    assert required in line
    assert " install 'opentelemetry-api" in line.partition("Fix: ")[2]
    assert "\n" not in line


def test_compatibility_range_equals_the_package_metadata() -> None:
    """Metadata, messages and ``otel-distro bootstrap`` have the same range."""
    ranges = {}
    for line in requires("otel-distro") or ():
        requirement = Requirement(line)
        if requirement.name.startswith("opentelemetry-"):
            ranges[requirement.name] = requirement.specifier
    contrib = {name for name in ranges if name.startswith("opentelemetry-instrumentation")}
    assert {ranges[name] for name in contrib} == {SpecifierSet(compatibility.CONTRIB_RANGE)}
    assert {ranges[name] for name in set(ranges) - contrib} == {SpecifierSet(compatibility.CORE_RANGE)}
    for core, instrumentation in compatibility.TRAINS:
        assert f"{core}0" in SpecifierSet(compatibility.CORE_RANGE)
        assert f"{instrumentation}0" in SpecifierSet(compatibility.CONTRIB_RANGE)
