"""An OTLP/HTTP receiver in the test process that keeps every request, duplicates included.

The receiver of ``otel_distro.local`` drops duplicates; these tests must see them.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """An event of a span."""

    name: str
    attributes: Attributes


@dataclass(frozen=True)
class Span:
    """A span.

    ``parent_id`` is empty for a root, ``status`` is 0 unset, 1 ok, 2 error, ``kind`` as in OTLP;
    ``start`` and ``end`` are nanoseconds since 1970.
    """

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    status: int
    attributes: Attributes
    events: tuple[Event, ...]
    scope: str
    resource: Attributes
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Log:
    """A log record; ``trace_id`` and ``span_id`` are empty outside of spans.

    ``time`` is nanoseconds since 1970.
    """

    body: Any
    severity: int
    event_name: str
    trace_id: str
    span_id: str
    attributes: Attributes
    scope: str
    resource: Attributes
    time: int = 0


@dataclass(frozen=True)
class Point:
    """A data point.

    ``value`` of a histogram is its count; ``start`` and ``time`` are nanoseconds since 1970.
    """

    name: str
    unit: str
    kind: str
    value: float
    attributes: Attributes
    start: int
    time: int
    exemplars: tuple[str, ...]
    scope: str
    resource: Attributes


class Receiver:
    """Serves on a loopback port until stopped, and answers every request with ``status``."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.respond: Callable[[str, bytes], tuple[int, int]] | None = None
        """Decides in place of ``status``: path and body -> status and number of rejected items.

        Rejected items are reported in a partial success.
        """
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        """Path and headers (names in lower case) of each request."""
        self.bodies: list[bytes] = []
        """The decompressed bodies of the requests that were answered with 200."""
        self._answering = threading.Event()
        self._answering.set()
        self._arrived = threading.Condition()
        self._spans: list[Span] = []
        self._logs: list[Log] = []
        self._points: list[Point] = []
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """The value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def hang(self) -> None:
        """Leave all further requests unanswered."""
        self._answering.clear()

    def stop(self) -> None:
        """Stop serving; unanswered requests stay unanswered."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._answering.set()

    def spans(self, name: str | None = None) -> list[Span]:
        """Return the spans received so far in order, all or those named ``name``."""
        with self._arrived:
            return [span for span in self._spans if name in (None, span.name)]

    def logs(self, body: str | None = None) -> list[Log]:
        """Return the log records received so far in order, all or those with this body."""
        with self._arrived:
            return [log for log in self._logs if body in (None, log.body)]

    def points(self, name: str | None = None) -> list[Point]:
        """Return the data points received so far in order, all or those of one metric."""
        with self._arrived:
            return [point for point in self._points if name in (None, point.name)]

    def series(self, name: str, **attributes: Any) -> list[Point]:
        """Return the last point of each series of a metric.

        A series is a process and a set of attributes.

        Args:
            name: The name of the metric.
            **attributes: Return only series with these values; dots of names are underscores.
        """
        last: dict[tuple[Any, ...], Point] = {}
        for point in self.points(name):
            names = {key.replace(".", "_"): value for key, value in point.attributes.items()}
            if attributes.items() <= names.items():
                last[(instance(point), repr(sorted(point.attributes.items())))] = point
        return list(last.values())

    def total(self, name: str, **attributes: Any) -> float:
        """Return the sum over :meth:`series`."""
        return sum(point.value for point in self.series(name, **attributes))

    def wait_for(self, condition: Callable[[Receiver], object], timeout: float = 20) -> None:
        """Wait until ``condition(receiver)`` is true.

        Raises:
            AssertionError: It is not true in time; the message summarises what arrived.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: condition(self), timeout):
                raise AssertionError(f"not within {timeout} s; received so far: {self.summary()}")

    def summary(self) -> str:
        """Return a summary of what arrived, for messages of failed tests."""
        spans, logs, names = self.spans(), self.logs(), {point.name for point in self.points()}
        return (
            f"{len(spans)} spans {[span.name for span in spans][:20]}, {len(logs)} logs {[log.body for log in logs][:20]}, "
            f"points of {sorted(names)}"
        )

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, int]:
        """Keep a request; return the HTTP status to answer and the number of rejected items."""
        self._answering.wait()
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        status, rejected = self.respond(path, body) if self.respond is not None else (self.status, 0)
        with self._arrived:
            self.requests.append((path, headers))
            if status == 200:
                self.bodies.append(body)
                if path == "/v1/traces":
                    self._spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
                elif path == "/v1/logs":
                    self._logs.extend(_logs(ExportLogsServiceRequest.FromString(body)))
                elif path == "/v1/metrics":
                    self._points.extend(_points(ExportMetricsServiceRequest.FromString(body)))
                else:
                    return 404, 0
            self._arrived.notify_all()
            return status, rejected


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, receiver: Receiver, port: int) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing when a client disconnects: tests kill many of them."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Sends headers and body in one packet: of two, the second would wait for the client's delayed
    # acknowledgement.
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {k.lower(): v for k, v in self.headers.items()}
        status, rejected = self.server.receiver.receive(self.path, headers, body)
        # The field has the same number in the responses of all signals.
        answer = ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=rejected)
        ).SerializeToString()
        answer = answer if rejected else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def instance(item: Span | Log | Point) -> str:
    """Return the ``service.instance.id`` of the process that sent the item."""
    return str(item.resource["service.instance.id"])


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for part in group.scope_spans:
            for span in part.spans:
                yield Span(
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.status.code,
                    _attributes(span.attributes),
                    tuple(Event(event.name, _attributes(event.attributes)) for event in span.events),
                    part.scope.name,
                    resource,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                )


def _logs(request: ExportLogsServiceRequest) -> Iterator[Log]:
    for group in request.resource_logs:
        resource = _attributes(group.resource.attributes)
        for part in group.scope_logs:
            for record in part.log_records:
                yield Log(
                    _value(record.body),
                    record.severity_number,
                    record.event_name,
                    record.trace_id.hex(),
                    record.span_id.hex(),
                    _attributes(record.attributes),
                    part.scope.name,
                    resource,
                    record.time_unix_nano or record.observed_time_unix_nano,
                )


def _points(request: ExportMetricsServiceRequest) -> Iterator[Point]:
    for group in request.resource_metrics:
        resource = _attributes(group.resource.attributes)
        for part in group.scope_metrics:
            for metric in part.metrics:
                yield from _points_of(metric, part.scope.name, resource)


def _points_of(metric: Metric, scope: str, resource: Attributes) -> Iterator[Point]:
    kind = metric.WhichOneof("data") or ""
    for point in getattr(metric, kind).data_points:
        value = point.count if hasattr(point, "count") else point.as_int or point.as_double
        yield Point(
            metric.name,
            metric.unit,
            kind if kind != "sum" or metric.sum.is_monotonic else "updown",
            value,
            _attributes(point.attributes),
            point.start_time_unix_nano,
            point.time_unix_nano,
            tuple(exemplar.trace_id.hex() for exemplar in point.exemplars),
            scope,
            resource,
        )
