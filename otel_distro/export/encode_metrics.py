"""A metric with its points as OTLP ``Metric``.

Message: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Sum

from otel_distro.export.encode_values import attributes
from otel_distro.export.encode_wire import (
    FIELD_1,
    VARINT,
    fixed64,
    identifier,
    int64,
    is_interrupt,
    name,
    pack_double,
    uint32,
    uint64,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_distro.export.encode_wire import Budget

_pack_int64 = struct.Struct("<q").pack


def encode_metric(metric: Any, budget: Budget, drop: Callable[[BaseException], None]) -> tuple[bytes, int]:
    """Return the message of a ``Metric`` and how many points it holds. ``drop`` is told of each that is left out.

    Raises ``TypeError`` for a type that OTLP does not have, and what properties of the metric raise.
    """
    data: Any = metric.data
    found = [row for row in _POINTS if isinstance(data, row[0])]
    if not found:
        raise TypeError("unknown type of metric")
    kind, tag, encode = found[0]
    parts: list[bytes] = []
    count = 0
    for point in data.data_points:
        budget.renew()
        try:
            message = encode(point, budget)
        except BaseException as error:
            if is_interrupt(error):
                raise
            drop(error)
            continue
        parts += (FIELD_1[len(message)], message)
        count += 1
    head = b"".join((b"\x0a", name(metric.name), b"\x12", name(metric.description), b"\x1a", name(metric.unit)))
    if not count:
        return head, 0
    if kind is not Gauge:
        parts += (b"\x10", VARINT[uint32(data.aggregation_temporality)])
    if kind is Sum and data.is_monotonic:
        parts.append(b"\x18\x01")
    points = b"".join(parts)
    return b"".join((head, tag, VARINT[len(points)], points)), count


def _gauge_point(point: Any, budget: Budget) -> bytes:
    return _number_point(point, budget, b"")


def _sum_point(point: Any, budget: Budget) -> bytes:
    return _number_point(point, budget, b"\x11" + fixed64(point.start_time_unix_nano))


def _number_point(point: Any, budget: Budget, start: bytes) -> bytes:
    pairs, _ = attributes(b"\x3a", point.attributes, budget)
    number = _number(b"\x31", b"\x21", point.value)
    return b"".join((start, b"\x19", fixed64(point.time_unix_nano), number, _exemplars(b"\x2a", point, budget), pairs))


def _histogram_point(point: Any, budget: Budget) -> bytes:
    pairs, _ = attributes(b"\x4a", point.attributes, budget)
    counts = _packed("Q", point.bucket_counts, uint64)
    bounds = _packed("d", point.explicit_bounds, float)
    return b"".join(
        (
            *_times_and_count(point),
            _double(b"\x29", point.sum),
            b"\x32" + counts if point.bucket_counts else b"",
            b"\x3a" + bounds if point.explicit_bounds else b"",
            _exemplars(b"\x42", point, budget),
            pairs,
            _double(b"\x59", point.min),
            _double(b"\x61", point.max),
        )
    )


def _exponential_point(point: Any, budget: Budget) -> bytes:
    pairs, _ = attributes(b"\x0a", point.attributes, budget)
    return b"".join(
        (
            pairs,
            *_times_and_count(point),
            _double(b"\x29", point.sum),
            b"\x30" + _signed(point.scale),
            b"\x39" + fixed64(point.zero_count),
            _buckets(b"\x42", point.positive),
            _buckets(b"\x4a", point.negative),
            b"\x50" + VARINT[uint32(point.flags)],
            _exemplars(b"\x5a", point, budget),
            _double(b"\x61", point.min),
            _double(b"\x69", point.max),
        )
    )


def _times_and_count(point: Any) -> tuple[bytes, ...]:
    times = (b"\x11", fixed64(point.start_time_unix_nano), b"\x19", fixed64(point.time_unix_nano))
    return (*times, b"\x21", fixed64(point.count))


def _buckets(tag: bytes, buckets: Any) -> bytes:
    if not buckets.bucket_counts:
        return b""
    counts = b"".join([VARINT[uint64(count)] for count in buckets.bucket_counts])
    message = b"".join((b"\x08", _signed(buckets.offset), b"\x12", VARINT[len(counts)], counts))
    return b"".join((tag, VARINT[len(message)], message))


def _exemplars(tag: bytes, point: Any, budget: Budget) -> bytes:
    if not point.exemplars:
        return b""
    parts: list[bytes] = []
    for exemplar in point.exemplars:
        # Without one of its samples the point itself is still sound.
        with suppress(Exception):
            message = _exemplar(exemplar, budget)
            parts += (tag, VARINT[len(message)], message)
    return b"".join(parts)


def _exemplar(exemplar: Any, budget: Budget) -> bytes:
    pairs, _ = attributes(b"\x3a", exemplar.filtered_attributes, budget)
    span_id, trace_id = identifier(exemplar.span_id, 8), identifier(exemplar.trace_id, 16)
    ids = b"" if span_id is None or trace_id is None else b"".join((b"\x22\x08", span_id, b"\x2a\x10", trace_id))
    number = _number(b"\x31", b"\x19", exemplar.value)
    return b"".join((b"\x11", fixed64(exemplar.time_unix_nano), ids, number, pairs))


def _number(int_tag: bytes, double_tag: bytes, value: Any) -> bytes:
    if issubclass(type(value), int):
        return int_tag + _pack_int64(int64(value))
    return double_tag + pack_double(value)


def _double(tag: bytes, value: Any) -> bytes:
    """Return an optional double. An integer that no double can hold is the largest one."""
    if value is None:
        return b""
    try:
        return tag + pack_double(value)
    except OverflowError:
        return tag + pack_double(float("inf") if value > 0 else float("-inf"))


def _packed(code: str, values: Sequence[Any], sanitize: Callable[[Any], Any]) -> bytes:
    """Return numbers of eight bytes each, after their length."""
    try:
        raw = struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, TypeError, OverflowError):
        raw = struct.pack(f"<{len(values)}{code}", *map(sanitize, values))
    return VARINT[len(raw)] + raw


def _signed(value: Any) -> bytes:
    """Return a sint32: small numbers of either sign are short."""
    number = max(-(1 << 31), min(int.__int__(value), (1 << 31) - 1))
    return VARINT[number << 1 if number >= 0 else (-number << 1) - 1]


_POINTS: tuple[tuple[type, bytes, Callable[[Any, Budget], bytes]], ...] = (
    (Sum, b"\x3a", _sum_point),
    (Gauge, b"\x2a", _gauge_point),
    (Histogram, b"\x4a", _histogram_point),
    (ExponentialHistogram, b"\x52", _exponential_point),
)
