"""The local log file beside the real Loki: the same fields, under the same names, with the same values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.stack.stack import Stack

BIN = Path(sys.executable).parent
PROGRAM = """
import logging
from opentelemetry import trace
from otel_distro import audit, log
with trace.get_tracer("shop").start_as_current_span("order"):
    log.event("order.paid", outcome="failure", user=7, amount=59.9, count=3, gift=True, reason="it was ghp_abcdefghijklmnopqrstuvwxyz0123456789")
    logging.getLogger("shop").warning("low on %s", "paper", extra={"shop.item-name": "A4", "9lives": "cat", "tags": ["a", 1]})
audit.event("auth.login", actor="bob", attributes={"client.address": "192.0.2.1", "who": {"id": 7, "name": "Zoë"}})
"""


def as_loki_shows(value: Any) -> str:
    """Return the text that Loki makes of a value."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_file_has_the_fields_of_loki(stack: Stack, tmp_path: Path) -> None:
    """What a line has the record in Loki has, with the same name and value; business events are found and summed up."""
    service = f"local-{uuid.uuid4().hex[:8]}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ = {
        **kept,
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_http,
        "OTEL_SERVICE_NAME": service,
        "OTEL_DISTRO_LOG_FILE": str(tmp_path / "app.jsonl"),
        "OTEL_DISTRO_AUDIT_FILE": str(tmp_path / "audit.jsonl"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    command = [str(BIN / "opentelemetry-instrument"), sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "low on paper\n")

    lines = [json.loads(line) for line in (tmp_path / "app.jsonl").read_bytes().splitlines()]
    found = stack.wait_for_number(3, lambda: stack.logql(f'{{service_name="{service}"}}'))
    chain = json.loads((tmp_path / "audit.jsonl").read_bytes().splitlines()[-1])
    assert [line["audit_chain_hash"] for line in lines if "audit_chain_hash" in line] == [chain["hash"]]
    in_loki = {body: labels for labels, body in found}
    for line in lines:
        labels = in_loki.pop(line.pop("body"))
        del line["timestamp"]
        assert {name: as_loki_shows(value) for name, value in line.items()}.items() <= labels.items()
    assert not in_loki

    paid = f'{{service_name="{service}"}} | event_name="order.paid" | otel_distro_event_outcome="failure"'
    assert [body for _, body in stack.logql(paid)] == ["order.paid failed for user 7"]
    total = f"sum by (gift) (sum_over_time({paid} | unwrap amount [1h]))"
    (answer,) = stack.get(f"{stack.loki}/loki/api/v1/query", query=total)["data"]["result"]
    assert (answer["metric"], float(answer["value"][1])) == ({"gift": "true"}, 59.9)
