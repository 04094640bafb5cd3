"""The host's audit log through the real Collector: lines as auditd writes them become audit events in Loki."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_distro import schema
from tests.stack.build import locate
from tests.stack.process import Process
from tests.stack.programs import COLLECTOR_CONFIG, Ports, collector_env, url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.stack import Stack

OVERLAYS = COLLECTOR_CONFIG.parent / "overlays"
LOGIN = (
    'type=USER_LOGIN msg=audit({at}:{serial}): pid=914 uid=0 auid=4294967295 ses=4294967295 msg=\'op=login acct="root" '
    'exe="/usr/sbin/sshd" hostname=? addr=203.0.113.9 terminal=ssh res={result}\''
)
LINES = (
    LOGIN.replace("{result}", "failed"),
    LOGIN.replace("{result}", "success"),
    (
        "type=USER_AUTH msg=audit({at}:{serial}): pid=914 uid=0 auid=1000 ses=2 msg='op=PAM:authentication grantors=? "
        'acct=6576696C2075736572 exe="/usr/bin/sudo" hostname=? addr=? terminal=/dev/pts/1 res=failed\''
    ),
    (
        "type=SYSCALL msg=audit({at}:{serial}): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=7ffd items=1 ppid=1 "
        'pid=77 auid=1000 uid=1000 comm="cat" exe="/usr/bin/cat" key="shadow"'
    ),
    'type=PATH msg=audit({at}:{serial}): item=0 name="/etc/shadow" inode=131 dev=08:01 mode=0100640 nametype=NORMAL',
    (
        'node=web1 type=ADD_USER msg=audit({at}:{serial}): pid=5 uid=0 auid=1000 ses=2 msg=\'op=adding user acct="eve" '
        'exe="/usr/sbin/useradd" hostname=web1 addr=? terminal=pts/0 res=success\''
    ),
    "this is no line of auditd",
)
NAME, OUTCOME, ACTOR = schema.AUDIT_NAME.label, schema.AUDIT_OUTCOME.label, schema.AUDIT_ACTOR.label
TARGET, ADDRESS = schema.AUDIT_TARGET.label, schema.CLIENT_ADDRESS.label


def write(log: Path, lines: tuple[str, ...], serial: int) -> None:
    """Append lines to the audit log as if they happened now."""
    with log.open("a") as file:
        for number, line in enumerate(lines):
            file.write(line.replace("{at}", f"{time.time():.3f}").replace("{serial}", str(serial + number)) + "\n")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The audit log of a host."""
    return tmp_path / "audit.log"


@pytest.fixture
def collector(stack: Stack, tmp_path: Path, log: Path) -> Iterator[Process]:
    """A Collector of its own with the overlay, in front of the stack's Loki."""
    ports = replace(Ports.free(), loki=stack.ports.loki)
    env = collector_env(ports, tmp_path) | {"AUDITD_LOG": str(log), "AUDITD_HOST": log.parent.name}
    command = [str(locate("otelcol-distro")), f"--config={COLLECTOR_CONFIG}", f"--config={OVERLAYS / 'auditd.yaml'}"]
    process = Process("auditd", command, folder=tmp_path, ready_url=url(ports.collector_health), env=env)
    process.wait_ready()
    yield process
    process.stop()


def test_lines_of_auditd_are_audit_events(stack: Stack, collector: Process, log: Path) -> None:
    """Names, outcome, actor, target and address are those of all audit events; no line is lost or doubled by a restart."""

    def arrived() -> list[tuple[dict[str, str], str]]:
        return stack.logql(f'{{service_name="auditd"}} | host_name="{log.parent.name}"')

    write(log, LINES, 100)
    first = stack.wait_for_number(len(LINES), arrived)
    collector.stop()
    write(log, LINES[:2], 200)
    collector.restart()
    write(log, LINES[:1], 300)
    assert len(stack.wait_for_number(len(LINES) + 3, arrived)) == len(LINES) + 3
    found = {(event[NAME], event[OUTCOME]): event for event, _ in first}
    failed = found["auth.login", "failure"]
    assert failed["event_name"] == schema.AUDIT_AUTH_LOGIN.name
    assert (failed[ACTOR], failed[ADDRESS], failed["detected_level"]) == ("root", "203.0.113.9", "warn")
    assert failed[schema.AUDIT_SOURCE.label] == "auditd"
    assert found["auth.login", "success"][TARGET] == "/usr/sbin/sshd"
    assert found["host.user_auth", "failure"][ACTOR] == "6576696C2075736572"
    assert ADDRESS not in found["host.user_auth", "failure"]
    assert (found["host.syscall", "failure"][ACTOR], found["host.syscall", "failure"][TARGET]) == (
        "1000",
        "/usr/bin/cat",
    )
    assert found["host.path", "unknown"][TARGET] == "/etc/shadow"
    assert found["host.add_user", "success"][ACTOR] == "eve"
    assert [line for event, line in first if event[NAME] == "host.unknown"] == [LINES[-1]]


@pytest.mark.parametrize("overlay", sorted(OVERLAYS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_overlay_says_one_thing(overlay: Path) -> None:
    """It brings a pipeline of its own, of parts that it or the base declares, and replaces nothing of the base."""
    base: dict[str, Any] = yaml.safe_load(COLLECTOR_CONFIG.read_text(encoding="utf-8"))
    added: dict[str, Any] = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    assert not set(added["service"]["pipelines"]) & set(base["service"]["pipelines"])
    for kind in ("receivers", "processors", "exporters"):
        assert not set(added.get(kind, ())) & set(base[kind])
        for pipeline in added["service"]["pipelines"].values():
            assert set(pipeline[kind]) <= {*base[kind], *added.get(kind, ())}
