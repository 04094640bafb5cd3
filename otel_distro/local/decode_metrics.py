"""Metrics of OTLP as rows of the store.

Data model: https://opentelemetry.io/docs/specs/otel/metrics/data-model/.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from otel_distro.local.attributes import LIMITS, Attributes, Cuts, attributes_of, clamp, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint


class Stream(NamedTuple):
    """The properties that all points of a metric share."""

    name: str
    kind: str
    unit: str
    temporality: int
    monotonic: bool


class PointRow(NamedTuple):
    """The columns of table ``point``; ``bounds`` refers to a row of table ``bounds``."""

    ts: int
    start_ns: int
    val: float | None
    cnt: int | None = None
    lo: float | None = None
    hi: float | None = None
    bounds: bytes | None = None
    buckets: bytes | None = None
    detail: str | None = None
    exemplars: str | None = None


def stream_of(metric: Metric, cuts: Cuts) -> Stream | None:
    """Return name and kind of ``metric``, or None if it has no data."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return None
    temporality: int = AggregationTemporality.AGGREGATION_TEMPORALITY_UNSPECIFIED
    if kind == "sum":
        temporality = metric.sum.aggregation_temporality
    elif kind == "histogram":
        temporality = metric.histogram.aggregation_temporality
    elif kind == "exponential_histogram":
        temporality = metric.exponential_histogram.aggregation_temporality
    name = cuts.text(metric.name, LIMITS.value)
    return Stream(name, kind, metric.unit[: LIMITS.value], temporality, kind == "sum" and metric.sum.is_monotonic)


def point_rows(metric: Metric, cuts: Cuts) -> Iterator[tuple[Attributes, PointRow]]:
    """Yield the points of ``metric`` that carry a value, each with its attributes."""
    points: Sequence[Point] = getattr(metric, metric.WhichOneof("data") or "gauge").data_points
    for point in points:
        if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            continue
        yield attributes_of(point.attributes, cuts), _row(point, cuts)


def _row(point: Point, cuts: Cuts) -> PointRow:
    ts, start = clamp(point.time_unix_nano), clamp(point.start_time_unix_nano)
    if isinstance(point, NumberDataPoint):
        kind = point.WhichOneof("value")
        value = float(point.as_int) if kind == "as_int" else point.as_double
        return PointRow(ts, start, value, exemplars=_exemplars(point.exemplars, cuts))
    if isinstance(point, SummaryDataPoint):
        quantiles = [[q.quantile, _finite(q.value)] for q in point.quantile_values[: LIMITS.elements]]
        return PointRow(ts, start, point.sum, clamp(point.count), detail=to_json(quantiles))
    low = point.min if point.HasField("min") else None
    high = point.max if point.HasField("max") else None
    row = PointRow(ts, start, point.sum, clamp(point.count), low, high, exemplars=_exemplars(point.exemplars, cuts))
    if isinstance(point, HistogramDataPoint):
        bounds = point.explicit_bounds[: LIMITS.elements]
        counts = point.bucket_counts[: LIMITS.elements + 1]
        return row._replace(
            bounds=struct.pack(f"<{len(bounds)}d", *bounds), buckets=struct.pack(f"<{len(counts)}Q", *counts)
        )
    detail = {
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": point.zero_threshold,
        "positive": [point.positive.offset, list(point.positive.bucket_counts[: LIMITS.elements])],
        "negative": [point.negative.offset, list(point.negative.bucket_counts[: LIMITS.elements])],
    }
    return row._replace(detail=to_json(detail))


def _exemplars(exemplars: Sequence[Exemplar], cuts: Cuts) -> str | None:
    if len(exemplars) > LIMITS.exemplars:
        cuts["exemplars left out"] += 1
    return to_json([_exemplar(exemplar) for exemplar in exemplars[: LIMITS.exemplars]])


def _exemplar(exemplar: Exemplar) -> dict[str, Any]:
    value = exemplar.as_int if exemplar.WhichOneof("value") == "as_int" else _finite(exemplar.as_double)
    return {
        "ts": exemplar.time_unix_nano,
        "value": value,
        "trace_id": exemplar.trace_id.hex(),
        "span_id": exemplar.span_id.hex(),
    }


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
