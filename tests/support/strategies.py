"""Hypothesis strategies for all items that an application may validly record."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

texts = st.text(max_size=300)
keys = st.text(min_size=1, max_size=40)
int64s = st.integers(-(1 << 63), (1 << 63) - 1)
times = st.integers(0, (1 << 64) - 1)
trace_ids = st.integers(0, (1 << 128) - 1)
span_ids = st.integers(0, (1 << 64) - 1)
scalars = st.none() | st.booleans() | texts | int64s | st.floats() | st.binary(max_size=50)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)
mappings = st.dictionaries(keys, values, max_size=6)
limits = st.none() | st.integers(0, 4)
attributes = (
    st.none() | mappings | st.builds(BoundedAttributes, limits, mappings, st.booleans(), st.none() | st.integers(0, 20))
)

# Few, so that items share them; an equal one may be another object.
resources = st.builds(
    lambda name, url: Resource({"service.name": name, "host.cpu": 2, "up": True}, url),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "url"]),
)
scopes = st.builds(
    InstrumentationScope,
    st.sampled_from(["one", "two"]),
    st.sampled_from([None, "1.0"]),
    st.sampled_from([None, "https://schema"]),
    st.sampled_from([None, {"k": 1}, {"k": "1"}]),
)

trace_states = st.none() | st.lists(
    st.tuples(st.from_regex(r"\A[a-z][a-z0-9]{0,9}\Z"), st.from_regex(r"\A[a-zA-Z0-9]{1,9}\Z")), max_size=3
).map(TraceState)
contexts = st.builds(SpanContext, trace_ids, span_ids, st.booleans(), st.integers(0, 255).map(TraceFlags), trace_states)
events = st.builds(Event, texts, attributes, times)
links = st.builds(Link, contexts, attributes)
statuses = st.builds(Status, st.sampled_from([StatusCode.UNSET, StatusCode.OK])) | st.builds(
    Status, st.just(StatusCode.ERROR), st.none() | texts
)


def listed(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return sequences as a span holds them: those of the SDK count dropped elements."""
    lists = st.lists(members, max_size=4)
    return lists | lists.map(tuple) | st.builds(BoundedList.from_seq, limits, lists)


spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=resources,
    attributes=attributes,
    events=listed(events),
    links=listed(links),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=st.none() | times,
    end_time=st.none() | times,
    instrumentation_scope=st.none() | scopes,
)

records = st.builds(
    LogRecord,
    timestamp=st.none() | times,
    observed_timestamp=st.none() | times,
    trace_id=trace_ids,
    span_id=span_ids,
    trace_flags=st.integers(0, 255).map(TraceFlags),
    severity_text=st.none() | st.sampled_from(["INFO", "WARN"]) | texts,
    severity_number=st.none() | st.sampled_from(SeverityNumber),
    body=values,
    attributes=attributes,
)


def _named(record: LogRecord, event_name: str | None) -> LogRecord:
    record.event_name = event_name
    return record


logs = st.builds(
    ReadableLogRecord,
    log_record=st.builds(_named, records, st.none() | texts),
    resource=resources,
    instrumentation_scope=st.none() | scopes,
)

numbers = int64s | st.floats()
counts = st.integers(0, (1 << 64) - 1)
exemplars = st.lists(
    st.builds(Exemplar, attributes, numbers, times, st.none() | span_ids, st.none() | trace_ids), max_size=2
)
number_points = st.builds(NumberDataPoint, attributes, times, times, numbers, exemplars)
histogram_points = st.builds(
    HistogramDataPoint,
    attributes=attributes,
    start_time_unix_nano=times,
    time_unix_nano=times,
    count=counts,
    sum=numbers,
    bucket_counts=st.lists(counts, max_size=12),
    explicit_bounds=st.lists(st.floats(), max_size=11),
    min=st.floats(),
    max=st.none() | st.floats(),
    exemplars=exemplars,
)
int32s = st.integers(-(1 << 31), (1 << 31) - 1)
buckets = st.builds(Buckets, int32s, st.lists(counts, max_size=8))
exponential_points = st.builds(
    ExponentialHistogramDataPoint,
    attributes=attributes,
    start_time_unix_nano=times,
    time_unix_nano=times,
    count=counts,
    sum=numbers,
    scale=int32s,
    zero_count=counts,
    positive=buckets,
    negative=buckets,
    flags=st.integers(0, 1),
    min=st.floats(),
    max=st.none() | st.floats(),
    exemplars=exemplars,
)
temporalities = st.sampled_from(AggregationTemporality)
data = (
    st.builds(Sum, st.lists(number_points, max_size=3), temporalities, st.booleans())
    | st.builds(Gauge, st.lists(number_points, max_size=3))
    | st.builds(Histogram, st.lists(histogram_points, max_size=3), temporalities)
    | st.builds(ExponentialHistogram, st.lists(exponential_points, max_size=3), temporalities)
)
metrics = st.builds(Metric, texts, st.none() | texts, st.none() | texts, data)
scope_metrics = st.builds(ScopeMetrics, scopes, st.lists(metrics, min_size=1, max_size=3), texts)


def _by_resource(groups: list[list[ScopeMetrics]]) -> MetricsData:
    """Give each group a resource of its own, and each of its scopes another name."""
    return MetricsData(
        [
            ResourceMetrics(
                Resource({"service.name": str(index)}, "url" if index else ""),
                [
                    ScopeMetrics(
                        InstrumentationScope(
                            str(place), scoped.scope.version, scoped.scope.schema_url, scoped.scope.attributes
                        ),
                        scoped.metrics,
                        scoped.schema_url,
                    )
                    for place, scoped in enumerate(group)
                ],
                "",
            )
            for index, group in enumerate(groups)
        ]
    )


metrics_data = st.lists(st.lists(scope_metrics, min_size=1, max_size=3), max_size=2).map(_by_resource)
