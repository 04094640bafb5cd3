"""Secrets of an SDK without redaction: the Collector stores none of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.stack.rings import LOGS, TRACES
from tests.support.otlp import Service
from tests.support.redaction_corpus import AWS_KEY, CANARY, GITHUB, NEAR_MISSES, PLANTED
from tests.unit.test_collector_redaction import needs_more_than_patterns

if TYPE_CHECKING:
    from tests.stack.stack import Stack

HIDDEN = [
    planted for planted in PLANTED if not needs_more_than_patterns(planted) and not isinstance(planted.value, bytes)
]
NEAR = [near for near in NEAR_MISSES if not isinstance(near.value, bytes) and near.value != "********"]


def records(shop: Service, entries: list[Any]) -> ExportLogsServiceRequest:
    """Return a request with a record per entry: an attribute if it has a key, else the body."""
    request = ExportLogsServiceRequest()
    for number, entry in enumerate(entries):
        attributes = {entry.key: entry.value} if entry.key else {}
        request.MergeFrom(shop.log(f"number {number}" if entry.key else entry.value, attributes=attributes))
    return request


@LOGS
def test_redaction_masks_every_planted_secret_in_logs(stack: Stack) -> None:
    """No secret is stored, all records are, and none has an additional attribute."""
    shop = Service()
    assert len(HIDDEN) >= 75
    stack.send("logs", records(shop, HIDDEN))
    lines = stack.wait_for_number(len(HIDDEN), lambda: stack.lines(shop.name))
    stored = json.dumps(lines, ensure_ascii=False)
    # One record holds this key beside another secret, without a name.
    assert not [planted.name for planted in HIDDEN if planted.secret in stored and planted.secret != AWS_KEY]
    assert "****" in stored
    assert "redaction_" not in stored


@LOGS
def test_redaction_keeps_near_misses_in_logs(stack: Stack) -> None:
    """Text that only resembles a secret is unchanged."""
    shop = Service()
    texts = [near for near in NEAR if not near.key]
    stack.send("logs", records(shop, NEAR))
    lines = stack.wait_for_number(len(NEAR), lambda: stack.lines(shop.name))
    assert {near.value for near in texts} <= {line for _, line in lines}
    assert not [line for labels, line in lines if "****" in f"{labels} {line}" and "SecretStr('****" not in line]


@TRACES
def test_redaction_masks_secrets_in_traces_and_metrics(stack: Stack) -> None:
    """Secrets in all places of spans and points are masked; the text around them stays."""
    shop = Service(resource={"db.password": CANARY, "process.command_line": f"app --password {CANARY} --port 80"})
    error = {"exception.message": f"no mysql://root:{CANARY}@db/shop"}
    attributes = {
        "url.full": f"https://example.com/x?api_key={CANARY}&page=2",
        "http.request.header.authorization": [f"Bearer {CANARY}"],
        "process.command_args": ["git", "clone", f"https://x:{GITHUB}@example.com/y"],
        "http.response.status_code": 200,
        "http.route": "/orders",
    }
    message = f"refused: password='{CANARY}'"
    name = f"GET /x?token={CANARY}"
    stack.send("traces", shop.span(name, failed=True, message=message, attributes=attributes, error=error))
    point = shop.duration(f"/reset/{GITHUB}", 0.2)
    stack.send("metrics", point)

    stack.wait_for(lambda: stack.trace_by_id(shop.trace_id))
    text = stack.trace_text(shop.trace_id)
    assert CANARY not in text
    assert GITHUB not in text
    for kept in ("/orders", "200", "no mysql****db/shop", "refused: ", "--port 80", "git"):
        assert kept in text
    assert "otel_distro." not in text

    of_service = f'service_name="{shop.name}"'
    (series,) = stack.wait_for(lambda: stack.promql(f"http_server_request_duration_seconds_count{{{of_service}}}"))
    assert series["metric"]["http_route"] == "/reset/****"
    (calls,) = stack.wait_for(lambda: stack.promql(f"traces_spanmetrics_calls_total{{{of_service}}}"))
    assert calls["metric"]["span_name"] == "GET /x?****"
