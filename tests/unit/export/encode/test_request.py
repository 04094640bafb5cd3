"""An encoded request decodes to the one that upstream's encoder makes of the same items."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as upstream_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as upstream_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as upstream_spans
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from otel_distro.export.encode.redact import redactor, reset_after_fork
from otel_distro.export.encode.request import Encoded, encode_logs, encode_metrics, encode_spans
from tests.support import strategies

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

many = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Drop thousands of warnings of the SDK about limits from the test report."""
    caplog.set_level(logging.ERROR, "opentelemetry")


def assert_equal(ours: Encoded, theirs: Message) -> None:
    """Compare the deterministic serialisation of both messages, because NaN differs from itself."""
    message = type(theirs)()
    message.ParseFromString(ours.body)
    assert message.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert not ours.dropped


def without_secrets(request: Callable[[Any], Encoded], items: Any) -> Encoded:
    """Encode unredacted: a random number may be that of a payment card."""
    reset_after_fork()
    encoded = request(items)
    assume(not redactor().hidden)
    return encoded


@many
@given(st.lists(strategies.spans, max_size=6))
def test_spans_generated_equal_upstream(items: list[ReadableSpan]) -> None:
    """All spans that an application can make are encoded as upstream encodes them."""
    ours = without_secrets(encode_spans, items)
    assert_equal(ours, upstream_spans(items))
    assert ours.count == len(items)


@many
@given(st.lists(strategies.logs, max_size=6))
def test_logs_generated_equal_upstream(items: list[ReadableLogRecord]) -> None:
    """All log records that an application can make are encoded as upstream encodes them."""
    ours = without_secrets(encode_logs, items)
    assert_equal(ours, upstream_logs(items))
    assert ours.count == len(items)


@many
@given(strategies.metrics_data)
def test_metrics_generated_equal_upstream(data: MetricsData) -> None:
    """All metrics that an application can make are encoded as upstream encodes them."""
    ours = without_secrets(encode_metrics, data)
    assert_equal(ours, upstream_metrics(data))
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert ours.count == sum(len(metric.data.data_points) for scope in scopes for metric in scope.metrics)


def test_spans_of_sdk_provider_equal_upstream() -> None:
    """Spans of the SDK: nested, remote parent, exception, links, limits that drop some."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource.create({"service.name": "shop"}),
        span_limits=SpanLimits(
            max_span_attributes=3, max_events=2, max_links=1, max_event_attributes=1, max_link_attributes=1
        ),
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop.orders", "1.0", "https://schema/1", {"tier": "web"})
    remote = SpanContext(7, 8, True, TraceFlags(1), trace.TraceState([("vendor", "a"), ("other", "b")]))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with pytest.raises(KeyError), tracer.start_as_current_span("GET", parent, SpanKind.SERVER) as span:
        span.set_attributes({f"key.{i}": [i, "two", None, 0.5] for i in range(5)})
        for i in range(4):
            span.add_event("retry", {"attempt": i, "again": True})
            span.add_link(SpanContext(9 + i, 10, i % 2 == 0), {"a": i, "b": b"bytes"})
        with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, attributes={"rows": 0, "ok": False}):
            raise KeyError("no such order")
    provider.get_tracer("other").start_span("no parent").end()
    spans = exporter.get_finished_spans()
    assert len(spans) == 3
    assert_equal(encode_spans(spans), upstream_spans(spans))


class Kept(LogRecordProcessor):
    def __init__(self) -> None:
        self.records: list[ReadableLogRecord] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.records.append(
            ReadableLogRecord(
                log_record.log_record, log_record.resource or Resource({}), log_record.instrumentation_scope
            )
        )

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def test_logs_of_sdk_provider_equal_upstream() -> None:
    """Log records of the SDK: inside and outside of a span, with and without an event name."""
    kept = Kept()
    provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_log_record_processor(kept)
    logger = provider.get_logger("shop", "2.0", "https://schema/1", {"tier": "web"})
    with TracerProvider().get_tracer("shop").start_as_current_span("GET"):
        logger.emit(body="in a span", severity_number=SeverityNumber.INFO, severity_text="INFO", timestamp=5)
    logger.emit(body={"nested": ["a", 1, {"deep": None}]}, event_name="order.shipped", attributes={"number": 1})
    logger.emit(body=b"raw", exception=ValueError("x"))
    assert len(kept.records) == 3
    assert_equal(encode_logs(kept.records), upstream_logs(kept.records))


@pytest.mark.parametrize("exponential", [False, True])
def test_metrics_of_sdk_provider_equal_upstream(exponential: bool) -> None:
    """Metrics of the SDK: every instrument, both histograms, exemplars of a sampled span."""
    reader = InMemoryMetricReader()
    views = (
        [View(instrument_type=HistogramInstrument, aggregation=ExponentialBucketHistogramAggregation())]
        if exponential
        else []
    )
    provider = MeterProvider([reader], Resource.create({}), AlwaysOnExemplarFilter(), views=views)
    meter = provider.get_meter("shop", "1.0", "https://schema/1", {"tier": "web"})
    meter.create_observable_gauge("gauge", [lambda _: [Observation(0.5, {"place": "here"})]], "By", "described")
    meter.create_observable_counter("observed", [lambda _: [Observation(3)]])
    with TracerProvider().get_tracer("shop").start_as_current_span("GET"):
        meter.create_counter("orders", "1", "how many").add(2, {"country": "at"})
        meter.create_up_down_counter("open").add(-2.5)
        for value in (-1, 0, 0.25, 7, 1e9):
            meter.create_histogram("delay", "s").record(value, {"route": "/"})
    provider.get_meter("other").create_counter("others").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    ours = encode_metrics(data)
    assert_equal(ours, upstream_metrics(data))
    assert ours.count == 6


def test_equal_numbers_of_different_types_keep_their_type() -> None:
    """The cache never returns an equal value of another type: 1, True and 1.0; 0.0 and -0.0."""
    for value in (1, True, 1.0, False, 0, 0.0, -0.0, "1", b"1", (1,), (True,), (1.0,), ("1",)):
        span = ReadableSpan("n", SpanContext(1, 2, False), attributes={"k": value}, resource=Resource({}))
        assert_equal(encode_spans([span, span]), upstream_spans([span, span]))


def test_caches_of_unique_values_are_bounded() -> None:
    """Values, keys, names, resources and scopes that never recur are not cached forever."""
    from otel_distro.export.encode import protobuf, request, values

    def kept() -> int:
        pairs = sum(len(key.texts) + len(key.integers) for key in values._keys.values())
        return pairs + len(values._keys) + len(protobuf.NAMES) + len(request._resources) + len(request._scopes)

    for i in range(4000):
        scope = InstrumentationScope(f"scope {i}")
        attributes: dict[str, Any] = {f"key {i}": i, "fixed": f"{i}" * 40, "number": i, f"k{i % 500}": f"{i}"}
        encode_spans(
            [
                ReadableSpan(
                    f"name {i}",
                    SpanContext(1, 2, False),
                    attributes=attributes,
                    resource=Resource({"i": i}),
                    instrumentation_scope=scope,
                )
            ]
        )
    assert kept() < 12_000
    assert values._cached_bytes <= values._CACHED_BYTES
