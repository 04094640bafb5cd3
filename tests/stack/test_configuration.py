"""Every configuration file of the bundle is accepted by its program."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack import programs
from tests.stack.build import ROOT, locate
from tests.stack.programs import BACKENDS, COLLECTOR, COLLECTOR_CONFIG, Ports, collector_flags
from tests.stack.rings import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RULE_TESTS = Path(__file__).parent / "rules"


def accepts(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> str:
    """Run a program that checks a file and return its output; fail if it rejects the file."""
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_configuration_collector_accepts_defaults_and_replacements(tmp_path: Path) -> None:
    """`otelcol validate` passes with the defaults and with every variable set."""
    files = [f"--config={COLLECTOR_CONFIG}", f"--config={COLLECTOR / 'redaction.yaml'}"]
    assert collector_flags() == files
    command = [str(locate("otelcol-distro")), "validate", *files]
    accepts(command, env={"COLLECTOR_QUEUE_DIR": str(tmp_path / "queue")})
    accepts(command, env=programs.collector_env(Ports.free(), tmp_path))


def test_configuration_collector_without_redaction_does_not_start(tmp_path: Path) -> None:
    """With the first file alone the Collector names the missing processor and ends."""
    command = [str(locate("otelcol-distro")), "validate", f"--config={COLLECTOR_CONFIG}"]
    done = subprocess.run(
        command, check=False, env=programs.collector_env(Ports.free(), tmp_path), capture_output=True, text=True
    )
    assert done.returncode != 0
    assert 'references processor "redaction" which is not configured' in done.stderr


def test_configuration_prometheus_passes_promtool_without_warnings() -> None:
    """`promtool check config` has no errors and no warnings for the file and its rules."""
    accepts([locate("promtool"), "check", "config", "--lint=all", "--lint-fatal", BACKENDS / "prometheus.yaml"])


def test_configuration_prometheus_copy_differs_in_addresses_only(tmp_path: Path) -> None:
    """The copy that the tests run equals the bundle's file except for one address per target."""
    ours = (BACKENDS / "prometheus.yaml").read_text().splitlines()
    copy = programs.prometheus_config(Ports.free(), tmp_path).read_text().splitlines()
    changed = [(was, now) for was, now in zip(ours, copy, strict=True) if was != now]
    assert len(changed) == 6
    for was, now in changed:
        assert now[: now.index("127.0.0.1:")] == was[: now.index("127.0.0.1:")]


def test_configuration_every_alert_rule_has_a_passing_promtool_test() -> None:
    """`promtool test rules` passes, and every alert of the bundle has such a test."""
    tests = sorted(RULE_TESTS.glob("*_test.yaml"))
    accepts([locate("promtool"), "test", "rules", *tests])
    tested = "\n".join(test.read_text() for test in tests)
    for rules in sorted((BACKENDS / "rules").glob("*.yaml")):
        for line in rules.read_text().splitlines():
            if "- alert:" in line:
                assert f"alertname: {line.split(':')[1].strip()}\n" in tested


@pytest.mark.loki
def test_configuration_loki_accepts_defaults_and_replacements(tmp_path: Path) -> None:
    """`loki -verify-config` passes with the defaults and with every variable set."""
    loki = find("loki")
    assert loki
    for env in ({}, programs.loki_env(Ports.free(), tmp_path)):
        flags = programs.flags("loki", {"-config.file": str(BACKENDS / "loki.yaml"), "-verify-config": "true"})
        accepts([loki, *flags], env=env)


def test_configuration_alertmanager_accepts_its_file() -> None:
    """`amtool check-config` passes."""
    accepts([locate("amtool"), "check-config", BACKENDS / "alertmanager.yaml"])


@pytest.mark.tempo
def test_configuration_tempo_accepts_defaults_and_replacements(tmp_path: Path) -> None:
    """`tempo -config.verify` passes without warnings, with defaults and with every variable set."""
    tempo = find("tempo")
    assert tempo
    for env in ({}, programs.tempo_env(Ports.free(), tmp_path)):
        flags = programs.flags("tempo", {"-config.file": str(BACKENDS / "tempo.yaml"), "-config.verify": "true"})
        said = accepts([tempo, *flags], env=env)
        assert "level=warn" not in said
