"""The local log and audit files of a program hold the records that the backend receives."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import BIN
from tests.support.programs import INSTRUMENT, RUN, Command, Launcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.receiver import Receiver

FILES: dict[str, Any] = {"OTEL_DISTRO_LOG_FILE": "log/app.jsonl", "OTEL_DISTRO_AUDIT_FILE": "log/audit.jsonl"}
EXPECTED = Counter(
    {"thread-0": 100, "thread-1": 100, "thread-2": 100, "thread-3": 100, "forked": 50, "pool-0": 50, "pool-1": 50}
    | {"main": 100}
)
NOTHING = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the parsed lines of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def by_writer(bodies: list[str]) -> Counter[str]:
    """Return the number of log lines per writer of the program."""
    assert len(bodies) == len(set(bodies))
    return Counter(body.split()[0] for body in bodies if body.split()[0] in EXPECTED)


def test_local_log_files_contain_every_exported_record(launcher: Launcher, receiver: Receiver) -> None:
    """Records of threads and children are in the file once, redacted, with their trace.

    Each audit event in the backend names its line in the audit file.
    """
    ended = launcher.run("local_files.py", OTEL_SERVICE_NAME="shop", **FILES)
    assert (ended.returncode, ended.diagnostics()) == (0, [])
    written = lines(launcher.folder / "log" / "app.jsonl")
    sent = receiver.logs()
    assert by_writer([line["body"] for line in written]) == EXPECTED
    assert sorted((line["body"], line.get("trace_id", ""), line["service_instance_id"]) for line in written) == sorted(
        (log.body, log.trace_id, log.resource["service.instance.id"]) for log in sent
    )

    (order,) = receiver.spans("order")
    (paid,) = (line for line in written if line.get("event_name") == "order.paid")
    assert paid["body"] == "order.paid succeeded for user 7"
    assert (paid["service_name"], paid["trace_id"], paid["span_id"]) == ("shop", order.trace_id, order.span_id)
    assert (paid["amount"], paid["user_id"], paid["otel_distro_event_outcome"]) == (59.9, "7", "success")
    everything = b"".join(path.read_bytes() for path in (launcher.folder / "log").iterdir())
    # Not "4111" alone, which a hash may hold.
    assert b"1111 1111" not in everything
    assert b"hunter2000" not in everything

    chain = lines(launcher.folder / "log" / "audit.jsonl")
    (login,) = (log for log in sent if log.event_name == "audit.auth.login")
    assert [line["event_name"] for line in chain] == ["audit.chain.start", "audit.auth.login", "audit.auth.logout"]
    assert login.attributes["audit.chain.hash"] == chain[1]["hash"]
    assert login.attributes["audit.chain.sequence"] == chain[1]["sequence"] == 2
    assert (chain[1]["trace_id"], chain[1]["service_name"]) == (login.trace_id, "shop") == (order.trace_id, "shop")
    assert receiver.total("audit.events", audit_name="auth.login", audit_outcome="failure") == 1
    assert receiver.total("audit.chain.status", audit_chain_state="broken") == 0
    assert receiver.total("audit.chain.status", audit_chain_state="intact") >= 1
    assert receiver.total("otel_distro.log.file.dropped") == 0

    verified = launcher.run(BIN / "otel-distro", "audit", "verify", "log/audit.jsonl", command="bare")
    assert (verified.returncode, verified.stdout.split()[:4]) == (0, ["3", "lines", "in", "1"])


@pytest.mark.parametrize(
    ("command", "changes"), [(INSTRUMENT, NOTHING), (RUN, {})], ids=["no exporter", "no collector"]
)
def test_local_files_without_export_are_complete_after_sigterm(
    launcher: Launcher, command: Command, changes: dict[str, Any]
) -> None:
    """Without exporters or without a collector, a terminated process leaves every line."""
    nowhere: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    server = launcher.serve("local_files.py", "wait", command=command, **FILES, **nowhere, **changes)
    server.wait_for_log("ready")
    assert server.stop() == -signal.SIGTERM
    written = lines(launcher.folder / "log" / "app.jsonl")
    assert by_writer([line["body"] for line in written]) == EXPECTED
    assert len(lines(launcher.folder / "log" / "audit.jsonl")) == 3
    ours = [line for line in server.log.splitlines() if line.startswith("otel-distro: ")]
    assert bool(ours) is (not changes), ours
