"""One OTLP endpoint, three stores: how the bundle's Collector processes each signal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.stack import web
from tests.stack.rings import LOGS, LOKI
from tests.support.otlp import Service

if TYPE_CHECKING:
    from tests.stack.stack import Stack

DURATION = "http_server_request_duration_seconds"
LABELS = {"service_name", "service_namespace", "deployment_environment_name"}
STACKTRACE = "Traceback (most recent call last):\n" + '  File "shop.py", line 7, in pay\n' * 50 + "ValueError: no money"


@LOGS
def test_pipeline_request_is_in_all_stores_with_its_trace_id(stack: Stack) -> None:
    """A request's span, log line and duration are in the stores of traces, logs and metrics."""
    shop = Service()
    stack.send("traces", shop.span("GET /pay"))
    stack.send("logs", shop.log("paid"))
    stack.send("metrics", shop.duration("/pay", 0.2))
    sent = time.monotonic()

    trace = stack.measure("trace by id", sent, lambda: stack.trace_by_id(shop.trace_id))
    assert trace == [(shop.name, "GET /pay")]

    of_service = f'service_name="{shop.name}"'
    by_trace = {"trace_id": shop.trace_id}
    [(metadata, line)] = stack.measure("log by trace id", sent, lambda: stack.lines(shop.name, by_trace))
    assert line == "paid"
    assert metadata["span_id"] == shop.span_id

    series = f"{DURATION}_count{{{of_service}}}"
    [point] = stack.measure("metric", sent, lambda: stack.promql(series))
    assert point["value"][1] == "1"
    assert point["metric"]["http_route"] == "/pay"
    assert point["metric"]["job"] == f"tests/{shop.name}"
    assert point["metric"]["instance"] == shop.resource["service.instance.id"]
    assert point["metric"]["service_version"] == "1.2.3"

    buckets = f"{DURATION}_bucket{{{of_service}}}"
    [exemplar] = stack.measure("exemplar", sent, lambda: stack.exemplars(buckets))
    assert exemplar["labels"] == {"trace_id": shop.trace_id, "span_id": shop.span_id}


@LOGS
def test_pipeline_stack_trace_becomes_text_of_the_log_line(stack: Stack) -> None:
    """The stack trace is part of the line once; type and message stay attributes."""
    shop = Service()
    exception = {"exception.type": "ValueError", "exception.message": "no money", "exception.stacktrace": STACKTRACE}
    stack.send("logs", shop.log("payment failed", severity=17, text="ERROR", attributes=exception))
    stack.send("logs", shop.log(f"again\n{STACKTRACE}", severity=17, text="ERROR", attributes=exception))

    lines = stack.wait_for_number(2, lambda: stack.lines(shop.name))
    assert {line for _, line in lines} == {f"payment failed\n{STACKTRACE}", f"again\n{STACKTRACE}"}
    for metadata, _ in lines:
        assert metadata["exception_type"] == "ValueError"
        assert metadata["exception_message"] == "no money"
        assert "exception_stacktrace" not in metadata


@LOGS
def test_pipeline_giant_stack_trace_is_truncated_not_rejected(stack: Stack) -> None:
    """A record with a stack trace of a megabyte is stored; Loki truncates its line."""
    shop = Service()
    giant = {"exception.type": "RecursionError", "exception.stacktrace": STACKTRACE * 600}
    stack.send("logs", shop.log("too deep", severity=17, text="ERROR", attributes=giant))

    [(metadata, line)] = stack.wait_for(lambda: stack.lines(shop.name))
    assert metadata["exception_type"] == "RecursionError"
    assert line.startswith("too deep\nTraceback")
    if stack.logs.name == "loki":
        assert 200_000 < len(line) <= 256 * 1024
    else:
        assert line == f"too deep\n{STACKTRACE * 600}"


@LOKI
def test_pipeline_loki_streams_have_three_labels(stack: Stack) -> None:
    """Two processes of a service share a stream; their ids are structured metadata."""
    first, second = Service(), Service()
    second.name = second.resource["service.name"] = first.name
    stack.send("logs", first.log("one"))
    stack.send("logs", second.log("two"))

    lines = stack.wait_for_number(2, lambda: stack.lines(first.name))
    assert {metadata["service_instance_id"] for metadata, _ in lines} == {
        first.resource["service.instance.id"],
        second.resource["service.instance.id"],
    }
    selector = f'{{service_name="{first.name}"}}'
    series = web.get(f"{stack.loki.address}/loki/api/v1/series", **{"match[]": selector})["data"]
    assert [set(labels) for labels in series] == [LABELS]


@LOGS
def test_pipeline_late_log_record_is_stored(stack: Stack) -> None:
    """A line queued for six hours is stored although newer lines of its service are."""
    shop = Service()
    stack.send("logs", shop.log("now"))
    stack.wait_for(lambda: stack.lines(shop.name))
    stack.send("logs", shop.log("six hours ago", age=6 * 3600))

    lines = stack.wait_for_number(2, lambda: stack.lines(shop.name, seconds=86400))
    assert {line for _, line in lines} == {"now", "six hours ago"}


def test_pipeline_late_metric_is_stored(stack: Stack) -> None:
    """A value queued for twenty minutes is stored although the series has newer ones."""
    shop = Service()
    series = f'{DURATION}_sum{{service_name="{shop.name}"}}'
    stack.send("metrics", shop.duration("/pay", 0.9))
    stack.wait_for(lambda: stack.promql(series))
    stack.send("metrics", shop.duration("/pay", 0.4, age=20 * 60))

    assert stack.wait_for(lambda: stack.promql_value(f"{series} offset 19m")) == 0.4
    assert stack.promql_value(series) == 0.9


def test_pipeline_span_metrics_add_up_all_processes(stack: Stack) -> None:
    """Spans of two processes are one series without instance, with exemplars of both traces."""
    first, second = Service(), Service()
    second.name = second.resource["service.name"] = first.name
    stack.send("traces", first.span("GET /pay", seconds=0.2))
    stack.send("traces", second.span("GET /pay", seconds=0.3))

    of_service = f'service_name="{first.name}"'
    calls = f"traces_spanmetrics_calls_total{{{of_service}}}"
    stack.wait_for(lambda: stack.promql_value(f"sum({calls})") == 2)
    [series] = stack.promql(calls)
    assert {name: value for name, value in series["metric"].items() if name != "__name__"} == {
        "job": f"tests/{first.name}",
        "service_name": first.name,
        "service_namespace": "tests",
        "deployment_environment_name": "ci",
        "span_name": "GET /pay",
        "span_kind": "SPAN_KIND_SERVER",
        "status_code": "STATUS_CODE_UNSET",
    }

    latency = f'traces_spanmetrics_latency_bucket{{{of_service}, le="0.25"}}'
    assert stack.promql_value(latency) == 1
    buckets = f"traces_spanmetrics_latency_bucket{{{of_service}}}"
    exemplars = stack.wait_for_number(2, lambda: stack.exemplars(buckets))
    assert {exemplar["labels"]["trace_id"] for exemplar in exemplars} == {first.trace_id, second.trace_id}
