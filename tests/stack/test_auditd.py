"""The overlay ``auditd`` of the Collector turns lines of auditd into audit events."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_distro import schema
from tests.stack.build import ROOT, locate
from tests.stack.programs import (
    COLLECTOR,
    COLLECTOR_CONFIG,
    Ports,
    StackProgram,
    collector_env,
    collector_flags,
    compose,
    url,
)
from tests.stack.rings import LOGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.stack import Stack

OVERLAYS = COLLECTOR / "overlays"
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
        'node={node} type=ADD_USER msg=audit({at}:{serial}): pid=5 uid=0 auid=1000 ses=2 msg=\'op=adding user acct="eve" '
        'exe="/usr/sbin/useradd" hostname=web1 addr=? terminal=pts/0 res=success\''
    ),
    (
        'type=EXECVE msg=audit({at}:{serial}): argc=3 a0="cat" a1="-n" a2=2F686F6D652F6A616E6520646F652F782E747874\x1dX="y"'
    ),
    "type=PATH msg=audit({at}:{serial}): item=0 name=2F686F6D652F5A6FC3AB20646F652F782E747874 inode=7 nametype=NORMAL",
    "type=PROCTITLE msg=audit({at}:{serial}): proctitle=636174002D6E002F6574632F736861646F77",
    (
        "type=USER_LOGIN msg=audit({at}:{serial}): pid=914 uid=0 auid=1000 ses=3 msg='op=login id=1000 "
        'exe="/usr/sbin/sshd" hostname=? addr=2001:db8::7 terminal=ssh res=success\'\x1dUID="root" AUID="jane"'
    ),
    (
        "type=CONFIG_CHANGE msg=audit({at}:{serial}): auid=4294967295 ses=4294967295 op=remove_rule "
        'key="--password=hunter2canary" list=4 res=1'
    ),
    "this is no line of auditd",
)
NAME, OUTCOME, ACTOR = schema.AUDIT_NAME.label, schema.AUDIT_OUTCOME.label, schema.AUDIT_ACTOR.label
TARGET, ADDRESS, REASON = schema.AUDIT_TARGET.label, schema.CLIENT_ADDRESS.label, schema.AUDIT_REASON.label


def write(log: Path, lines: tuple[str, ...], serial: int) -> None:
    """Append lines to the audit log with the time of now."""
    with log.open("a") as file:
        for number, text in enumerate(lines):
            line = text.replace("{at}", f"{time.time():.3f}").replace("{serial}", str(serial + number))
            file.write(line.replace("{node}", f"{log.parent.name}-node") + "\n")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The audit log of a host."""
    return tmp_path / "audit.log"


@pytest.fixture
def collector(stack: Stack, tmp_path: Path, log: Path) -> Iterator[StackProgram]:
    """A second Collector, with the overlay, that exports to the stack's log store."""
    ports = Ports.free()
    env = collector_env(ports, tmp_path) | {
        "AUDITD_LOG": str(log),
        "AUDITD_HOST": log.parent.name,
        "LOKI_OTLP_ENDPOINT": stack.logs.otlp,
    }
    command = [str(locate("otelcol-distro")), *collector_flags("auditd")]
    process = StackProgram("auditd", command, folder=tmp_path, ready_url=url(ports.collector_health), env=env)
    process.wait_until_ready()
    yield process
    process.stop()


@LOGS
def test_auditd_lines_become_audit_events_once(stack: Stack, collector: StackProgram, log: Path) -> None:
    """Lines have name, outcome, actor, target and address of audit events.

    A restart of the Collector and a rotation neither lose nor repeat a line.
    """
    node = f"{log.parent.name}-node"

    def arrived() -> list[tuple[dict[str, str], str]]:
        return stack.lines("auditd", {"host.name": [log.parent.name, node]})

    write(log, LINES, 100)
    # The stores keep a week and reject older lines, which would count as lost telemetry: the overlay
    # drops them.
    write(log, (LINES[0].replace("{at}", "1500000000.000"),), 150)
    first = stack.wait_for_number(len(LINES), arrived)
    collector.stop()
    write(log, LINES[:2], 200)
    # Rotated while the Collector was down: it reads the rest of the old file, not its beginning again.
    log.rename(log.with_name("audit.log.1"))
    collector.restart()
    write(log, LINES[:1], 300)
    assert len(stack.wait_for_number(len(LINES) + 3, arrived)) == len(LINES) + 3
    found = {(event[NAME], event[OUTCOME]): event for event, line in first if "2001:db8::7" not in line}
    failed = found["auth.login", "failure"]
    assert failed["event_name"] == schema.AUDIT_AUTH_LOGIN.name
    assert (failed[ACTOR], failed[ADDRESS], failed["detected_level"]) == ("root", "203.0.113.9", "warn")
    assert failed[schema.AUDIT_SOURCE.label] == "auditd"
    assert found["auth.login", "success"][TARGET] == "/usr/sbin/sshd"
    assert found["host.user_auth", "failure"][ACTOR] == "evil user"
    assert ADDRESS not in found["host.user_auth", "failure"]
    assert (found["host.syscall", "failure"][ACTOR], found["host.syscall", "failure"][TARGET]) == (
        "1000",
        "/usr/bin/cat",
    )
    assert {event[TARGET] for event, _ in first if event[NAME] == "host.path"} == {"/etc/shadow", "/home/Zoë doe/x.txt"}
    added = found["host.add_user", "success"]
    assert (added[ACTOR], added[TARGET], added[REASON], added["host_name"]) == ("1000", "eve", "adding user", node)
    assert {event["host_name"] for event, _ in first if event is not added} == {log.parent.name}
    assert found["process.start", "unknown"][TARGET] == "cat"
    assert found["host.proctitle", "unknown"][TARGET] == "cat -n /etc/shadow"
    assert ACTOR not in found["host.config_change", "success"]
    (named,) = (event for event, line in first if "2001:db8::7" in line)
    assert (named[ACTOR], named[OUTCOME], named[ADDRESS]) == ("jane", "success", "2001:db8::7")
    assert not [line for _, line in first if "hunter2canary" in line]
    assert [line for event, line in first if event[NAME] == "host.unknown"] == [LINES[-1]]


def test_journald_overlay_is_valid_and_uses_the_same_names(tmp_path: Path) -> None:
    """The overlay without its receiver is valid; the Collector of the tests lacks that receiver."""
    overlay: dict[str, Any] = yaml.safe_load((OVERLAYS / "journald.yaml").read_text(encoding="utf-8"))
    overlay["receivers"] = {"file_log/journald": {"include": [str(tmp_path / "none")]}}
    overlay["service"]["pipelines"]["logs/journald"]["receivers"] = ["file_log/journald"]
    changed = tmp_path / "journald.yaml"
    changed.write_text(yaml.safe_dump(overlay), encoding="utf-8")
    command = [str(locate("otelcol-distro")), "validate", *collector_flags(), f"--config={changed}"]
    done = subprocess.run(
        command, env=collector_env(Ports.free(), tmp_path), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    audit, journal = ((OVERLAYS / f"{name}.yaml").read_text(encoding="utf-8") for name in ("auditd", "journald"))
    for attribute in (
        schema.AUDIT_NAME,
        schema.AUDIT_OUTCOME,
        schema.AUDIT_ACTOR,
        schema.AUDIT_TARGET,
        schema.AUDIT_SOURCE,
    ):
        assert f'set(log.attributes["{attribute.name}"]' in audit
        assert f'set(log.attributes["{attribute.name}"]' in journal


def test_auditd_compose_file_adds_the_log_read_only() -> None:
    """It adds the overlay, the read-only log and a group, and no further privileges."""
    added = yaml.safe_load((ROOT / "docker-compose.auditd.yml").read_text(encoding="utf-8"))["services"]
    (collector,) = added.values()
    assert added.keys() <= compose()["services"].keys()
    assert not {"user", "privileged", "cap_add", "network_mode", "ports"} & collector.keys()
    assert all(volume.endswith(":ro") for volume in collector["volumes"])
    mounted = [volume.split(":")[0] for volume in collector["volumes"] if volume.startswith("./")]
    assert mounted == ["./collector/overlays/auditd.yaml"]
    assert (ROOT / mounted[0]).is_file()
    base = compose()["services"]["otel-collector"]["command"]
    assert collector["command"] == [*base, f"--config={collector['volumes'][0].split(':')[1]}"]


@pytest.mark.parametrize("overlay", sorted(OVERLAYS.glob("*.yaml")), ids=lambda path: path.stem)
def test_overlay_adds_one_pipeline_and_replaces_nothing(overlay: Path) -> None:
    """Its pipelines use components that it or the base declares, and replace none of the base."""
    base: dict[str, Any] = yaml.safe_load(COLLECTOR_CONFIG.read_text(encoding="utf-8"))
    base["processors"] |= yaml.safe_load((COLLECTOR / "redaction.yaml").read_text(encoding="utf-8"))["processors"]
    added: dict[str, Any] = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    assert not set(added["service"]["pipelines"]) & set(base["service"]["pipelines"])
    for kind in ("receivers", "processors", "exporters"):
        assert not set(added.get(kind, ())) & set(base[kind])
        for pipeline in added["service"]["pipelines"].values():
            assert set(pipeline[kind]) <= {*base[kind], *added.get(kind, ())}
