"""Every file of the bundle is accepted by the program it is for."""

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
    """Run a program that checks a file and return what it says; fail with it when the program objects."""
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


def test_collector_accepts_its_files(tmp_path: Path) -> None:
    """`otelcol validate` finds nothing wrong, with the defaults and with everything replaced."""
    files = [f"--config={COLLECTOR_CONFIG}", f"--config={COLLECTOR / 'redaction.yaml'}"]
    assert collector_flags() == files
    command = [str(locate("otelcol-distro")), "validate", *files]
    accepts(command, env={"COLLECTOR_QUEUE_DIR": str(tmp_path / "queue")})
    accepts(command, env=programs.collector_env(Ports.free(), tmp_path))


def test_collector_does_not_start_without_its_redaction(tmp_path: Path) -> None:
    """With the first file alone nothing runs unredacted: the Collector names what is missing and ends."""
    command = [str(locate("otelcol-distro")), "validate", f"--config={COLLECTOR_CONFIG}"]
    done = subprocess.run(
        command, check=False, env=programs.collector_env(Ports.free(), tmp_path), capture_output=True, text=True
    )
    assert done.returncode != 0
    assert 'references processor "redaction" which is not configured' in done.stderr


def test_prometheus_accepts_its_file() -> None:
    """`promtool check config` finds nothing wrong, not even what it only warns of, in the file and its rules."""
    accepts([locate("promtool"), "check", "config", "--lint=all", "--lint-fatal", BACKENDS / "prometheus.yaml"])


def test_prometheus_file_of_the_tests_differs_in_addresses_only(tmp_path: Path) -> None:
    """The copy that the tests run is the bundle's file but for one address of each part."""
    ours = (BACKENDS / "prometheus.yaml").read_text().splitlines()
    copy = programs.prometheus_config(Ports.free(), tmp_path).read_text().splitlines()
    changed = [(was, now) for was, now in zip(ours, copy, strict=True) if was != now]
    assert len(changed) == 6
    for was, now in changed:
        assert now[: now.index("127.0.0.1:")] == was[: now.index("127.0.0.1:")]


def test_alert_rules_do_what_their_tests_say() -> None:
    """`promtool test rules` passes, and every alert of the bundle has such a test."""
    tests = sorted(RULE_TESTS.glob("*_test.yaml"))
    accepts([locate("promtool"), "test", "rules", *tests])
    tested = "\n".join(test.read_text() for test in tests)
    for rules in sorted((BACKENDS / "rules").glob("*.yaml")):
        for line in rules.read_text().splitlines():
            if "- alert:" in line:
                assert f"alertname: {line.split(':')[1].strip()}\n" in tested


@pytest.mark.loki
def test_loki_accepts_its_file(tmp_path: Path) -> None:
    """`loki -verify-config` finds nothing wrong, with the defaults and with everything replaced."""
    loki = find("loki")
    assert loki
    for env in ({}, programs.loki_env(Ports.free(), tmp_path)):
        flags = programs.flags("loki", {"-config.file": str(BACKENDS / "loki.yaml"), "-verify-config": "true"})
        accepts([loki, *flags], env=env)


def test_alertmanager_accepts_its_file() -> None:
    """`amtool check-config` finds nothing wrong."""
    accepts([locate("amtool"), "check-config", BACKENDS / "alertmanager.yaml"])


@pytest.mark.tempo
def test_tempo_accepts_its_file(tmp_path: Path) -> None:
    """`tempo -config.verify` finds nothing wrong, with the defaults and with everything replaced."""
    tempo = find("tempo")
    assert tempo
    for env in ({}, programs.tempo_env(Ports.free(), tmp_path)):
        flags = programs.flags("tempo", {"-config.file": str(BACKENDS / "tempo.yaml"), "-config.verify": "true"})
        said = accepts([tempo, *flags], env=env)
        assert "level=warn" not in said
