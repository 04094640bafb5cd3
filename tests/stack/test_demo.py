"""The uninstrumented demo runs under load through the real stack; then the stores are queried."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grafana.boards import errors, logs, security, service_overview
from grafana.queries import Query, queries
from tests.stack import web
from tests.stack.rings import LOGS, LOKI, TEMPO
from tests.support.processes import BIN, environment, run_command

if TYPE_CHECKING:
    from tests.stack.stack import Stack

ROOT = Path(__file__).parents[2]
SECONDS = 20
MEASURED = "http_server_request_duration_seconds"
SHOP = 'service_name="shop"'
DASHBOARDS = [board.dashboard() for board in (service_overview, errors, logs, security)]


class Run:
    """One run of the demo: the responses to its customers, and the time of its end."""

    def __init__(self, answers: list[dict[str, Any]], ended: float) -> None:
        self.answers = answers
        self.ended = ended

    def count(self, route: str, status: int) -> int:
        """Return the number of requests with this route and status."""
        return sum(a["count"] for a in self.answers if (a["route"], a["status"]) == (route, status))


@pytest.fixture(scope="module")
def demo(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The demo under ``opentelemetry-instrument``, with no setting but the endpoint."""
    data = tmp_path_factory.mktemp("demo")
    environ = environment(
        data,
        OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp_http,
        # A rate over a minute needs more than one point of this short run.
        OTEL_METRIC_EXPORT_INTERVAL="2000",
    )
    # A copy: the working folder comes first on sys.path, and must not hold the package under test.
    shutil.copytree(ROOT / "demo", data / "app" / "demo")
    command = [str(BIN / "opentelemetry-instrument"), sys.executable, "-m", "demo", "--quiet"]
    finished = run_command([*command, f"--seconds={SECONDS}", f"--data={data}"], data / "app", environ, timeout=240)
    assert finished.returncode == 0, finished.stderr
    return Run(json.loads((data / "answers.json").read_text()), time.monotonic())


def failed_orders(stack: Stack) -> set[str]:
    """Return the trace ids of the shop's log lines about orders that could not be charged."""
    found = stack.lines("shop", level="error", traced=True, containing="failed: not charged")
    return {metadata["trace_id"] for metadata, _ in found}


def test_demo_requests_are_counted_exactly(stack: Stack, demo: Run) -> None:
    """Prometheus counts exactly the orders that customers placed, and those that failed."""

    def counted(status: int) -> float | None:
        series = f'{MEASURED}_count{{{SHOP}, http_route="/orders", http_response_status_code="{status}"}}'
        return stack.promql_value(f"sum({series})")

    expected = {status: demo.count("POST /orders", status) for status in (201, 402, 500)}
    assert all(expected.values())
    stack.wait_for(lambda: {status: counted(status) for status in expected} == expected)


@LOGS
def test_demo_failed_order_is_in_all_three_stores(stack: Stack, demo: Run) -> None:
    """A failed order has a log line, an exemplar in Prometheus and its spans."""
    buckets = f'{MEASURED}_bucket{{{SHOP}, http_route="/orders", http_response_status_code="502"}}'

    def in_both() -> set[str]:
        return failed_orders(stack) & {found["labels"]["trace_id"] for found in stack.exemplars(buckets)}

    [trace_id, *_] = stack.measure("demo: log and exemplar of one request", demo.ended, in_both)
    spans = stack.measure("demo: its trace by id", demo.ended, lambda: stack.trace_by_id(trace_id))
    assert ("shop", "POST /orders") in spans
    assert any(service == "shop" and name.lower().startswith("select") for service, name in spans)


@LOGS
def test_demo_trace_crosses_the_services(stack: Stack, demo: Run) -> None:
    """An order is one trace from the customer through the shop to the payment service."""
    lines = stack.wait_for(lambda: stack.lines("payments", traced=True))
    trace_id = lines[0][0]["trace_id"]
    services = {service for service, _ in stack.wait_for(lambda: stack.trace_by_id(trace_id))}
    assert {"shop", "payments"} <= services


@LOGS
def test_demo_uncaught_exception_is_a_log_line_with_stack_trace(stack: Stack, demo: Run) -> None:
    """An exception that ended a thread is one log line with stack trace, and one count."""
    error = {"exception.type": "KeyError"}
    [(metadata, line), *_] = stack.wait_for(lambda: stack.lines("shop", error, containing="_bonus"))
    assert metadata["exception_type"] == "KeyError"
    assert "Traceback (most recent call last)" in line
    counted = f'sum(python_exceptions_total{{{SHOP}, exception_type="KeyError", python_exception_handler="thread"}})'
    assert stack.wait_for(lambda: stack.promql_value(counted))


def test_demo_span_metrics_have_no_instance(stack: Stack, demo: Run) -> None:
    """Metrics that the Collector derives from spans have the service, but no instance."""
    series = stack.wait_for(lambda: stack.promql(f"traces_spanmetrics_calls_total{{{SHOP}}}"))
    assert all("instance" not in entry["metric"] for entry in series)


def ask(stack: Stack, query: Query) -> bool:
    """Return whether a panel's query has a result."""
    if query.source == "prometheus":
        return bool(stack.promql(query.expr))
    if query.source == "loki":
        return bool(web.get(f"{stack.loki.address}/loki/api/v1/query_range", query=query.expr)["data"]["result"])
    return bool(stack.tempo.traceql(query.expr))


def queries_to(*sources: str) -> list[Query]:
    """Return the queries of every dashboard to these kinds of sources."""
    # Panels use rates over a minute, and a run is shorter: use the range of the run.
    values = {"__rate_interval": "2m", "__range": "5m", "__interval": "30s", "__auto": "2m"}
    return [query for board in DASHBOARDS for query in queries(board, values) if query.source in sources]


def wait_for_results(stack: Stack, asked: list[Query]) -> None:
    """Wait until each query has a result; fail with those that have none."""
    empty = [query for query in asked if not ask(stack, query)]

    def answered() -> bool:
        empty[:] = [query for query in empty if not ask(stack, query)]
        return not empty

    try:
        stack.wait_for(answered, timeout=40)
    except TimeoutError:
        raise AssertionError(empty) from None


def test_demo_every_metric_panel_has_data(stack: Stack, demo: Run) -> None:
    """Each PromQL query of every dashboard returns data after a run of the demo."""
    asked = queries_to("prometheus")
    assert len(asked) > 45
    wait_for_results(stack, asked)


@LOKI
def test_demo_every_metric_and_log_panel_has_data(stack: Stack, demo: Run) -> None:
    """Each PromQL and LogQL query of every dashboard returns data after a run of the demo."""
    asked = queries_to("prometheus", "loki")
    assert len(asked) > 60
    wait_for_results(stack, asked)


@TEMPO
def test_demo_every_trace_panel_has_data(stack: Stack, demo: Run) -> None:
    """Each TraceQL query of the dashboards returns traces from a real Tempo."""
    asked = [query for board in DASHBOARDS for query in queries(board) if query.source == "tempo"]
    assert asked
    stack.measure("demo: TraceQL search", demo.ended, lambda: all(ask(stack, query) for query in asked))
