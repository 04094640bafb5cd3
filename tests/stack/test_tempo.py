"""The ring ``tempo``: queries that only a real Tempo supports."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from tests.stack.rings import TEMPO
from tests.support.otlp import Service

if TYPE_CHECKING:
    from tests.stack.stack import Stack

pytestmark = TEMPO


def test_tempo_search_finds_a_trace_by_service_duration_and_status(stack: Stack) -> None:
    """A TraceQL search finds the trace that is also found by its id."""
    shop = Service()
    stack.send("traces", shop.span("GET /pay", seconds=0.5, failed=True))
    sent = time.monotonic()

    assert stack.measure("trace by id (Tempo)", sent, lambda: stack.trace_by_id(shop.trace_id)) == [
        (shop.name, "GET /pay")
    ]
    query = f'{{ resource.service.name = "{shop.name}" && status = error && duration > 400ms }}'
    [found] = stack.measure("trace by TraceQL (Tempo)", sent, lambda: stack.tempo.traceql(query))
    assert found["traceID"].zfill(32) == shop.trace_id
    assert found["rootTraceName"] == "GET /pay"
    assert stack.tempo.traceql(f'{{ resource.service.name = "{shop.name}" && duration > 10s }}') == []


def test_tempo_service_graph_has_the_edge_of_a_call(stack: Stack) -> None:
    """A client span and its server span are an edge between two services in Prometheus."""
    shop, bank = Service(), Service()
    bank.trace_id = shop.trace_id
    stack.send("traces", shop.span("POST bank", kind=3))
    stack.send("traces", bank.span("POST /transfer", parent_id=shop.span_id, span_id=secrets.token_hex(8)))

    edge = f'traces_service_graph_request_total{{client="{shop.name}", server="{bank.name}"}}'
    assert stack.wait_for(lambda: stack.promql_value(edge)) == 1


def test_tempo_generates_no_span_metrics(stack: Stack) -> None:
    """Tempo generates the service graph only, so no span is counted twice."""
    shop = Service()
    stack.send("traces", shop.span("GET /pay"))
    calls = f'traces_spanmetrics_calls_total{{span_name="GET /pay", service_name="{shop.name}"}}'
    stack.wait_for(lambda: stack.promql(calls))
    assert stack.promql(f'traces_spanmetrics_calls_total{{service="{shop.name}"}}') == []
