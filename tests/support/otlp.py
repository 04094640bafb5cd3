"""Export requests as programs send them, and an HTTP client that sends any body."""

from __future__ import annotations

import http.client
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROTOBUF = "application/x-protobuf"
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
Value = str | int | float | bool
_SCOPE = InstrumentationScope(name="tests.support")


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Return ``attributes`` in the form of OTLP."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def any_value(value: Any) -> AnyValue:
    """Return a value in the form of OTLP: text, bool, number, mapping, sequence or None."""
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    return AnyValue() if value is None else AnyValue(array_value=ArrayValue(values=map(any_value, value)))


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
    """Return span ``number`` of trace ``trace``, with an exception event if ``error`` is given.

    ``trace`` is 0 for a trace of its own.
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
    """Return the body of an export request with ``spans``."""
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
    """Return the body of an export request with ``records``."""
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
    """Return the body of an export request with one gauge; points are (time, value, attributes)."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add(resource=of or resource()).scope_metrics.add().metrics.add(name=name)
    for ts, value, attributes in values:
        metric.gauge.data_points.add(time_unix_nano=ts, as_double=value, attributes=pairs(attributes))
    return request.SerializeToString()


@dataclass
class Service:
    """One process of a service, with random identities and the requests it would send."""

    name: str = field(default_factory=lambda: f"shop-{secrets.token_hex(4)}")
    resource: dict[str, str | int] = field(default_factory=dict)
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        """Add the resource attributes that every SDK sends."""
        self.resource = {
            "service.name": self.name,
            "service.namespace": "tests",
            "service.version": "1.2.3",
            "service.instance.id": secrets.token_hex(8),
            "deployment.environment.name": "ci",
            "process.pid": 4711,
            "host.name": "box",
            **self.resource,
        }

    def span(
        self,
        name: str,
        *,
        seconds: float = 0.2,
        kind: int = 2,
        failed: bool = False,
        message: str = "",
        span_id: str = "",
        parent_id: str = "",
        attributes: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> ExportTraceServiceRequest:
        """Return a request with one span that ends now.

        Args:
            name: The name of the span.
            seconds: Its duration.
            kind: Its kind in OTLP; 2 is a server.
            failed: Whether its status is an error.
            message: The message of the status.
            span_id: Its id; that of the service by default.
            parent_id: The id of its parent; it is a root by default.
            attributes: Its attributes.
            error: The attributes of its exception event; no event by default.
        """
        request = ExportTraceServiceRequest()
        now = time.time_ns()
        made = (
            request.resource_spans.add(resource=self._resource())
            .scope_spans.add(scope=_SCOPE)
            .spans.add(
                trace_id=bytes.fromhex(self.trace_id),
                span_id=bytes.fromhex(span_id or self.span_id),
                parent_span_id=bytes.fromhex(parent_id),
                name=name,
                kind=kind,
                start_time_unix_nano=now - int(seconds * 1e9),
                end_time_unix_nano=now,
                attributes=pairs(attributes or {}),
            )
        )
        made.status.code = 2 if failed else 0  # type: ignore[assignment]
        made.status.message = message
        if error:
            made.events.add(name="exception", time_unix_nano=now, attributes=pairs(error))
        return request

    def log(
        self,
        body: Any,
        *,
        severity: int = 9,
        text: str = "INFO",
        age: float = 0.0,
        attributes: Mapping[str, Any] | None = None,
        event: str = "",
    ) -> ExportLogsServiceRequest:
        """Return a request with one log record of the span.

        Args:
            body: The body of the record.
            severity: Its severity number.
            text: Its severity text.
            age: How many seconds ago it was written.
            attributes: Its attributes.
            event: The name of the event, if it is one.
        """
        request = ExportLogsServiceRequest()
        now = time.time_ns()
        request.resource_logs.add(resource=self._resource()).scope_logs.add(scope=_SCOPE).log_records.add(
            time_unix_nano=now - int(age * 1e9),
            observed_time_unix_nano=now,
            severity_number=severity,
            severity_text=text,
            body=any_value(body),
            attributes=pairs(attributes or {}),
            trace_id=bytes.fromhex(self.trace_id),
            span_id=bytes.fromhex(self.span_id),
            event_name=event,
        )
        return request

    def duration(self, route: str, seconds: float, *, age: float = 0.0) -> ExportMetricsServiceRequest:
        """Return a request with one ``http.server.request.duration``; its exemplar is the span."""
        request = ExportMetricsServiceRequest()
        now = time.time_ns() - int(age * 1e9)
        metric = (
            request.resource_metrics.add(resource=self._resource())
            .scope_metrics.add(scope=_SCOPE)
            .metrics.add(name="http.server.request.duration", unit="s")
        )
        metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
        point = metric.histogram.data_points.add(
            attributes=pairs({"http.route": route, "http.request.method": "GET"}),
            start_time_unix_nano=now - 1_000_000_000,
            time_unix_nano=now,
            count=1,
            sum=seconds,
            explicit_bounds=[0.1, 1],
            bucket_counts=[int(seconds <= 0.1), int(0.1 < seconds <= 1), int(seconds > 1)],
        )
        point.exemplars.add(
            time_unix_nano=now,
            as_double=seconds,
            trace_id=bytes.fromhex(self.trace_id),
            span_id=bytes.fromhex(self.span_id),
        )
        return request

    def _resource(self) -> Resource:
        return Resource(attributes=pairs(self.resource))


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

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
) -> Response:
    """Send one request on a new connection; an iterable ``body`` is sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = {**({"Content-Type": content_type} if content_type else {}), **(headers or {})}
    try:
        connection.request(method, path, body, sent, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        return Response(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()
