"""OTLP export requests as programs send them, and a client that can send anything."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROTOBUF = "application/x-protobuf"
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
Value = str | int | float | bool


def pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    """Return ``attributes`` as OTLP pairs."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def any_value(value: Value) -> AnyValue:
    """Return ``value`` as an OTLP value."""
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(double_value=value)


def resource(attributes: Mapping[str, Value] | None = None) -> Resource:
    """Return the resource of a service named ``shop``."""
    return Resource(attributes=pairs({"service.name": "shop", **(attributes or {})}))


def span(
    number: int,
    name: str = "work",
    *,
    kind: int = 1,
    trace: int = 0,
    parent: int = 0,
    ms: float = 1,
    failed: bool = False,
    attributes: Mapping[str, Value] | None = None,
    error: Mapping[str, Value] | None = None,
) -> Span:
    """Return span ``number`` of trace ``trace``, by default of its own trace.

    ``error`` adds an exception event.
    """
    made = Span(
        trace_id=(trace or number).to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        kind=kind,  # type: ignore[arg-type]
        start_time_unix_nano=START_NS,
        end_time_unix_nano=START_NS + int(ms * MS),
        attributes=pairs(attributes or {}),
    )
    if failed or error:
        made.status.code = 2  # type: ignore[assignment]
    if error:
        made.events.add(name="exception", time_unix_nano=START_NS, attributes=pairs(error))
    return made


def traces(spans: Iterable[Span], of: Resource | None = None) -> bytes:
    """Return an export request with ``spans``."""
    request = ExportTraceServiceRequest()
    block = request.resource_spans.add(resource=of or resource())
    block.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


@dataclass(frozen=True)
class Log:
    """A log record; ``trace`` and ``span`` are numbers as in :func:`span`."""

    body: str
    severity: int = 9
    ts: int = START_NS
    trace: int = 0
    span: int = 0
    attributes: Mapping[str, Value] | None = None
    event: str = ""


def logs(records: Iterable[Log], of: Resource | None = None) -> bytes:
    """Return an export request with ``records``."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add(resource=of or resource()).scope_logs.add()
    for log in records:
        scope.log_records.add(
            time_unix_nano=log.ts,
            severity_number=log.severity,
            body=AnyValue(string_value=log.body),
            trace_id=log.trace.to_bytes(16, "big") if log.trace else b"",
            span_id=log.span.to_bytes(8, "big") if log.span else b"",
            attributes=pairs(log.attributes or {}),
            event_name=log.event,
        )
    return request.SerializeToString()


def gauge(name: str, values: Iterable[tuple[int, float, Mapping[str, Value]]], of: Resource | None = None) -> bytes:
    """Return an export request with one gauge; each point is time, value, attributes."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add(resource=of or resource()).scope_metrics.add().metrics.add(name=name)
    for ts, value, attributes in values:
        metric.gauge.data_points.add(time_unix_nano=ts, as_double=value, attributes=pairs(attributes))
    return request.SerializeToString()


@dataclass(frozen=True)
class ExportResult:
    """The response of the receiver."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send(
    port: int,
    body: bytes | Iterable[bytes],
    path: str = "/v1/traces",
    *,
    method: str = "POST",
    content_type: str | None = PROTOBUF,
    headers: Mapping[str, str] | None = None,
) -> ExportResult:
    """Send one request on its own connection; an iterable ``body`` is sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = {**({"Content-Type": content_type} if content_type else {}), **(headers or {})}
    try:
        connection.request(method, path, body, sent, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        return ExportResult(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()
