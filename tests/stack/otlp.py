"""OTLP requests as JSON, as an SDK would send them (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Attributes = Mapping[str, Any]


def any_value(value: Any) -> dict[str, Any]:
    """Return a value in OTLP's form: text, flags, numbers, lists and maps of them, nothing."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": key_values(value)}}
    return {} if value is None else {"arrayValue": {"values": [any_value(item) for item in value]}}


def key_values(attributes: Attributes) -> list[dict[str, Any]]:
    """Return attributes in OTLP's form."""
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


@dataclass
class Service:
    """One process of a service, with what it would send for one request it served."""

    name: str = field(default_factory=lambda: f"shop-{secrets.token_hex(4)}")
    resource: dict[str, str | int] = field(default_factory=dict)
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        """Fill in the resource that every SDK sends."""
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

    def _of_resource(self, kind: str, scope: dict[str, Any]) -> dict[str, Any]:
        scope = {"scope": {"name": "tests.stack"}, **scope}
        return {f"resource{kind}": [{"resource": {"attributes": key_values(self.resource)}, f"scope{kind}": [scope]}]}

    def span(self, name: str, *, seconds: float = 0.2, failed: bool = False, **more: Any) -> dict[str, Any]:
        """Return a request with one server span that ends now."""
        now = time.time_ns()
        span = {
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": name,
            "kind": 2,
            "startTimeUnixNano": str(now - int(seconds * 1e9)),
            "endTimeUnixNano": str(now),
            "status": {"code": 2 if failed else 0},
            **more,
        }
        return self._of_resource("Spans", {"spans": [span]})

    def log(
        self,
        body: str,
        *,
        severity: int = 9,
        text: str = "INFO",
        age: float = 0.0,
        attributes: Attributes | None = None,
        event: str = "",
    ) -> dict[str, Any]:
        """Return a request with one log record of the span, ``age`` seconds old; with ``event`` it is one of that name."""
        record = {
            "timeUnixNano": str(time.time_ns() - int(age * 1e9)),
            "observedTimeUnixNano": str(time.time_ns()),
            "severityNumber": severity,
            "severityText": text,
            "body": {"stringValue": body},
            "attributes": key_values(attributes or {}),
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "eventName": event,
        }
        return self._of_resource("Logs", {"logRecords": [record]})

    def duration(self, route: str, seconds: float, *, age: float = 0.0) -> dict[str, Any]:
        """Return a request with ``http.server.request.duration``: one value, with the span as its exemplar."""
        now = time.time_ns() - int(age * 1e9)
        point = {
            "attributes": key_values({"http.route": route, "http.request.method": "GET"}),
            "startTimeUnixNano": str(now - 1_000_000_000),
            "timeUnixNano": str(now),
            "count": "1",
            "sum": seconds,
            "explicitBounds": [0.1, 1],
            "bucketCounts": [str(int(seconds <= 0.1)), str(int(0.1 < seconds <= 1)), str(int(seconds > 1))],
            "exemplars": [
                {"timeUnixNano": str(now), "asDouble": seconds, "traceId": self.trace_id, "spanId": self.span_id}
            ],
        }
        histogram = {"aggregationTemporality": 2, "dataPoints": [point]}
        metric = {"name": "http.server.request.duration", "unit": "s", "histogram": histogram}
        return self._of_resource("Metrics", {"metrics": [metric]})
