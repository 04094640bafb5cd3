"""A request is split in two without losing, duplicating or moving an item."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from otel_distro.export.encode.request import encode_logs, encode_metrics, encode_spans
from otel_distro.export.encode.split import count_items, split
from tests.support import strategies

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.metrics.export import MetricsData

many = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
SIGNALS = (
    (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
    (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
    (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
)
TRACES, LOGS, METRICS = SIGNALS


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Drop thousands of warnings of the SDK about limits from the test report."""
    caplog.set_level(logging.ERROR, "opentelemetry")


def flat(body: bytes, signal: Any) -> list[tuple[bytes, ...]]:
    """Return each item with its resource, scope and schema URLs."""
    request, resources, scopes, items = signal
    found = []
    for resource in getattr(request.FromString(body), resources):
        for scope in getattr(resource, scopes):
            around = (resource.resource, resource.schema_url, scope.scope, scope.schema_url)
            for item in getattr(scope, items):
                found += [(*map(_bytes, around), *part) for part in _parts(item)]
    return found


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value.SerializeToString(deterministic=True))


def _parts(item: Any) -> list[tuple[bytes, ...]]:
    """Return an item, or each point of a metric with the other fields of the metric."""
    data = (
        getattr(item, item.WhichOneof("data"))
        if "data" in item.DESCRIPTOR.oneofs_by_name and item.WhichOneof("data")
        else None
    )
    if data is None:
        return [(_bytes(item),)]
    points = [_bytes(point) for point in data.data_points]
    del data.data_points[:]
    return [(_bytes(item), point) for point in points]


def assert_halves(body: bytes, signal: Any) -> None:
    """Split down to single items, and compare them with the items of the whole request."""
    whole = flat(body, signal)
    assert count_items(body) == len(whole)
    halves = split(body)
    if len(whole) < 2:
        assert halves is None
        return
    assert halves is not None
    first, second = (flat(half, signal) for half in halves)
    assert first + second == whole
    assert len(first) == len(whole) // 2
    for half in halves:
        assert_halves(half, signal)


@many
@given(st.lists(strategies.spans, max_size=5))
def test_split_of_spans_keeps_order_and_origin(items: list[ReadableSpan]) -> None:
    """Spans keep their order, resource, scope and schema URLs, down to single ones."""
    assert_halves(encode_spans(items).body, TRACES)


@many
@given(st.lists(strategies.logs, max_size=5))
def test_split_of_logs_keeps_order_and_origin(items: list[ReadableLogRecord]) -> None:
    """Log records keep their order, resource, scope and schema URLs, down to single ones."""
    assert_halves(encode_logs(items).body, LOGS)


@many
@given(strategies.metrics_data)
def test_split_of_metrics_is_between_points(data: MetricsData) -> None:
    """Metrics are split between points; each half has name, unit, temporality and so on."""
    assert_halves(encode_metrics(data).body, METRICS)


def spans(number: int, resource: str = "shop") -> bytes:
    scopes = [InstrumentationScope("one", "1"), InstrumentationScope("two", schema_url="https://schema")]
    items = [
        ReadableSpan(
            f"span {i}",
            SpanContext(1, i + 1, False),
            resource=Resource({"r": resource}, "url"),
            instrumentation_scope=scopes[i % 2],
        )
        for i in range(number)
    ]
    return encode_spans(items).body


def test_split_of_concatenated_requests_keeps_every_item() -> None:
    """Concatenated requests are one request, also if they repeat a resource."""
    body = spans(3) + spans(5) + spans(1, "other") + spans(2)
    assert count_items(body) == 11
    assert_halves(body, TRACES)


def test_split_keeps_unknown_fields_in_both_halves() -> None:
    """Fields that a later version of OTLP may add are kept in both halves."""
    body = spans(4) + b"\x7a\x03new"
    halves = split(body)
    assert halves is not None
    assert all(half.endswith(b"\x7a\x03new") for half in halves)


@pytest.mark.parametrize(
    "body", [b"", b"\xff" * 40, b"\x0a", b"\x0a\x7f", b"not protobuf at all", b"\x00\x01", b"\x0b\x0c"]
)
def test_split_of_bytes_that_are_no_request_returns_none(body: bytes) -> None:
    """Bytes that are not a request have no items and cannot be split."""
    assert split(body) is None
    assert count_items(body) == 0


@many
@given(st.binary(max_size=200))
def test_split_of_random_bytes_never_raises(body: bytes) -> None:
    """Random bytes raise nothing."""
    halves = split(body)
    assert halves is None or sum(map(count_items, halves)) == count_items(body)


@many
@given(st.data())
def test_split_of_damaged_request_never_raises(data: st.DataObject) -> None:
    """A request that is truncated or has a changed byte raises nothing."""
    body = bytearray(spans(4))
    place = data.draw(st.integers(0, len(body) - 1))
    split(bytes(body[:place]))
    body[place] = data.draw(st.integers(0, 255))
    halves = split(bytes(body))
    assert halves is None or sum(map(count_items, halves)) == count_items(bytes(body))
