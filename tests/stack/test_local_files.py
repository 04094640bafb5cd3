"""The local log file has the same fields, names and values as the log store."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from tests.stack.rings import LOGS
from tests.stack.stores import Lines
from tests.support.programs import Launcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack

PROGRAM = """
import logging
from opentelemetry import trace
from otel_distro import audit, log
with trace.get_tracer("shop").start_as_current_span("order"):
    log.event("order.paid", outcome="failure", user=7, amount=59.9, count=3, gift=True, reason="it was ghp_abcdefghijklmnopqrstuvwxyz0123456789")
    logging.getLogger("shop").warning("low on %s", "paper", extra={"shop.item-name": "A4", "9lives": "cat", "tags": ["a", 1]})
audit.event("auth.login", actor="bob", attributes={"client.address": "192.0.2.1", "who": {"id": 7, "name": "Zoë"}})
"""


def as_stored(value: Any) -> str:
    """Return the text that a store makes of a value."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@LOGS
def test_local_file_has_the_fields_of_the_log_store(stack: Stack, tmp_path: Path) -> None:
    """Each field of a line is in the stored record with the same name and value.

    Business events can be searched and summed by their fields.
    """
    service = f"local-{uuid.uuid4().hex[:8]}"
    ended = Launcher(tmp_path, stack.otlp_http).run(
        "-c",
        PROGRAM,
        OTEL_SERVICE_NAME=service,
        OTEL_DISTRO_LOG_FILE=str(tmp_path / "app.jsonl"),
        OTEL_DISTRO_AUDIT_FILE=str(tmp_path / "audit.jsonl"),
    )
    assert (ended.returncode, ended.stderr) == (0, "low on paper\n")

    lines = [json.loads(line) for line in (tmp_path / "app.jsonl").read_bytes().splitlines()]
    found = stack.wait_for_number(3, lambda: stack.lines(service))
    chain = json.loads((tmp_path / "audit.jsonl").read_bytes().splitlines()[-1])
    assert [line["audit_chain_hash"] for line in lines if "audit_chain_hash" in line] == [chain["hash"]]
    stored = {body: labels for labels, body in found}
    for line in lines:
        labels = stored.pop(line.pop("body"))
        del line["timestamp"]
        assert {name: as_stored(value) for name, value in line.items()}.items() <= labels.items()
    assert not stored

    paid = Lines(service, {"event.name": "order.paid", schema.EVENT_OUTCOME.name: "failure"})
    assert [body for _, body in stack.logs.lines(paid)] == ["order.paid failed for user 7"]
    assert stack.logs.totals(paid, "amount", by="gift") == {"true": 59.9}
