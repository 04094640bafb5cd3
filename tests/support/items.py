"""Ended items as the SDK passes them on, and what a server received of them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_distro.export.pipeline import Pipeline
    from tests.support.otlp_server import Request

RESOURCE = Resource({"service.name": "shop"})
_CONTEXT = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def span(name: str) -> ReadableSpan:
    """Return an ended span."""
    return ReadableSpan(name, context=_CONTEXT, resource=RESOURCE, start_time=1, end_time=2)


def content(request: Request) -> bytes:
    """Return the decompressed body of a request."""
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


def span_names(requests: Iterable[Request]) -> list[str]:
    """Return the names of all spans in the order of their arrival."""
    bodies = [content(request) for request in requests if request.target == "/v1/traces"]
    return [
        span.name
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def log_bodies(requests: Iterable[Request]) -> list[str]:
    """Return the bodies of all log records in the order of their arrival."""
    bodies = [content(request) for request in requests if request.target == "/v1/logs"]
    return [
        record.body.string_value
        for body in bodies
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def metric_names(requests: Iterable[Request]) -> set[str]:
    """Return the names of all metrics."""
    bodies = [content(request) for request in requests if request.target == "/v1/metrics"]
    return {
        metric.name
        for body in bodies
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def put(pipeline: Pipeline, *names: str) -> None:
    """End spans of these names."""
    for name in names:
        pipeline.put("traces", span(name))
