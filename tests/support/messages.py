"""Items with usual content, and their messages in encoded requests."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

    from otel_distro.export.encode.request import Encoded


RESOURCE = Resource({"service.name": "shop"})
SCOPE = InstrumentationScope("shop")
CONTEXT = SpanContext(1, 2, False)
GOOD: dict[str, Any] = {"fixed": "good", "number": 1, "flag": True}


def span(name: Any = "good", **kwargs: Any) -> ReadableSpan:
    usual: dict[str, Any] = {
        "context": CONTEXT,
        "resource": RESOURCE,
        "instrumentation_scope": SCOPE,
        "attributes": GOOD,
    }
    return ReadableSpan(name, **usual | kwargs)


def log(body: Any = "good", **kwargs: Any) -> ReadableLogRecord:
    record = LogRecord(timestamp=1, observed_timestamp=2, body=body, attributes=GOOD)
    for name, value in kwargs.items():
        setattr(record, name, value)
    return ReadableLogRecord(record, RESOURCE, SCOPE)


def spans_of(encoded: Encoded) -> list[SpanMessage]:
    request = ExportTraceServiceRequest.FromString(encoded.body)
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def logs_of(encoded: Encoded) -> list[LogMessage]:
    request = ExportLogsServiceRequest.FromString(encoded.body)
    return [
        record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records
    ]


def points_of(encoded: Encoded) -> list[Any]:
    request = ExportMetricsServiceRequest.FromString(encoded.body)
    metrics = [
        metric for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    return [point for metric in metrics for point in getattr(metric, metric.WhichOneof("data") or "gauge").data_points]


def never_raising(encode: Callable[[Any], Encoded], items: Any) -> Encoded:
    """Encode; if that raises, fail with the places of the traceback.

    Pytest itself would crash when it prints the hostile values in the frames.
    """
    try:
        return encode(items)
    except BaseException as error:
        kind = type(error).__name__
        places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    pytest.fail(f"raised {kind} at {places[1:]}", pytrace=False)


def between(encode: Callable[[Any], Encoded], decode: Callable[[Encoded], list[Any]], good: Any, bad: Any) -> list[Any]:
    """Encode ``bad`` between good items.

    Returns:
        The message of ``bad``, or nothing if it was dropped, which must have been counted.
    """
    expected = decode(encode([good]))[0]
    encoded = never_raising(encode, [good, good, bad, good])
    assert len(encoded.body) < 5_000_000
    messages = decode(encoded)
    assert encoded.count == len(messages)
    assert encoded.count + sum(encoded.dropped.values()) == 4
    assert [*messages[:2], messages[-1]] == [expected] * 3
    return messages[2:-1]


def value_of(message: Any, key: str = "x") -> AnyValue:
    found: AnyValue = next(pair.value for pair in message.attributes if pair.key == key)
    return found
