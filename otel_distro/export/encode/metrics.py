"""A metric with its points as OTLP ``Metric``.

Message: opentelemetry/proto/metrics/v1/metrics.proto in
https://github.com/open-telemetry/opentelemetry-proto
"""

from __future__ import annotations

import struct
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Sum

from otel_distro.export.encode.protobuf import (
    FIELD_1,
    VARINT,
    fixed64,
    identifier,
    int64,
    is_interrupt,
    members,
    name,
    named,
    pack_double,
    read,
    uint32,
    uint64,
)
from otel_distro.export.encode.values import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.export.encode.protobuf import SizeLimit

_metric_fields = attrgetter("name", "description", "unit", "data")
_points = attrgetter("data_points")
_number_fields = attrgetter("attributes", "start_time_unix_nano", "time_unix_nano", "value", "exemplars")
_histogram_fields = attrgetter(
    "attributes",
    "start_time_unix_nano",
    "time_unix_nano",
    "count",
    "sum",
    "bucket_counts",
    "explicit_bounds",
    "min",
    "max",
    "exemplars",
)
_exponential_fields = attrgetter(
    "attributes",
    "start_time_unix_nano",
    "time_unix_nano",
    "count",
    "sum",
    "min",
    "max",
    "exemplars",
    "scale",
    "zero_count",
    "positive",
    "negative",
    "flags",
)
_bucket_fields = attrgetter("offset", "bucket_counts")
_exemplar_fields = attrgetter("filtered_attributes", "value", "time_unix_nano", "span_id", "trace_id")

_pack_int64 = struct.Struct("<q").pack


def encode_metric(metric: Any, budget: SizeLimit, drop: Callable[[BaseException], None]) -> tuple[bytes, int]:
    """Return the message of a ``Metric`` and the number of its points.

    Args:
        metric: The metric.
        budget: The size limit, reset for each point.
        drop: Called with the error of each point that is left out.

    Raises:
        ValueError: For a type that OTLP lacks, and if the metric cannot be read at all.
    """
    title, description, unit, data = read(_metric_fields, metric)
    found = [row for row in _ROWS if issubclass(type(data), row[0])]
    if not found:
        raise ValueError("unknown type of metric")
    kind, tag, encode = found[0]
    parts: list[bytes] = []
    count = 0
    for point in members(read(_points, data)):
        budget.reset()
        try:
            message = encode(point, budget)
        except BaseException as error:
            if is_interrupt(error):
                raise
            drop(error)
            continue
        parts += (FIELD_1[len(message)], message)
        count += 1
    head = b"".join((b"\x0a", name(title), named(b"\x12", description), named(b"\x1a", unit)))
    if not count:
        return head, 0
    if kind is not Gauge:
        parts += (b"\x10", VARINT[uint32(data.aggregation_temporality)])
    if kind is Sum and data.is_monotonic is True:
        parts.append(b"\x18\x01")
    points = b"".join(parts)
    return b"".join((head, tag, VARINT[len(points)], points)), count


def _sum_point(point: Any, budget: SizeLimit) -> bytes:
    mapping, start, time, value, exemplars = read(_number_fields, point)
    return b"\x11" + fixed64(start) + _number_point(mapping, time, value, exemplars, budget)


def _gauge_point(point: Any, budget: SizeLimit) -> bytes:
    mapping, _, time, value, exemplars = read(_number_fields, point)
    return _number_point(mapping, time, value, exemplars, budget)


def _number_point(mapping: Any, time: Any, value: Any, exemplars: Any, budget: SizeLimit) -> bytes:
    pairs, _ = attributes(b"\x3a", mapping, budget)
    number = _number(b"\x31", b"\x21", value)
    return b"".join((b"\x19", fixed64(time), number, _exemplars(b"\x2a", exemplars, budget), pairs))


def _histogram_point(point: Any, budget: SizeLimit) -> bytes:
    mapping, start, time, count, total, counts, bounds, lowest, highest, exemplars = read(_histogram_fields, point)
    pairs, _ = attributes(b"\x4a", mapping, budget)
    return b"".join(
        (
            *_times_and_count(start, time, count),
            _optional(b"\x29", total),
            _packed(b"\x32", "Q", counts, fixed64),
            _packed(b"\x3a", "d", bounds, _double),
            _exemplars(b"\x42", exemplars, budget),
            pairs,
            _optional(b"\x59", lowest),
            _optional(b"\x61", highest),
        )
    )


def _exponential_point(point: Any, budget: SizeLimit) -> bytes:
    mapping, start, time, count, total, lowest, highest, exemplars, *rest = read(_exponential_fields, point)
    scale, zero_count, positive, negative, flags = rest
    pairs, _ = attributes(b"\x0a", mapping, budget)
    return b"".join(
        (
            pairs,
            *_times_and_count(start, time, count),
            _optional(b"\x29", total),
            b"\x30" + _signed(scale),
            b"\x39" + fixed64(zero_count),
            _buckets(b"\x42", positive),
            _buckets(b"\x4a", negative),
            b"\x50" + VARINT[uint32(flags)],
            _exemplars(b"\x5a", exemplars, budget),
            _optional(b"\x61", lowest),
            _optional(b"\x69", highest),
        )
    )


def _times_and_count(start: Any, time: Any, count: Any) -> tuple[bytes, ...]:
    return b"\x11", fixed64(start), b"\x19", fixed64(time), b"\x21", fixed64(count)


def _buckets(tag: bytes, buckets: Any) -> bytes:
    offset, source = read(_bucket_fields, buckets)
    counts = b"".join([VARINT[uint64(count)] for count in members(source)])
    if not counts:
        return b""
    message = b"".join((b"\x08", _signed(offset), b"\x12", VARINT[len(counts)], counts))
    return b"".join((tag, VARINT[len(message)], message))


def _exemplars(tag: bytes, source: Any, budget: SizeLimit) -> bytes:
    parts: list[bytes] = []
    # An exemplar that cannot be read is left out; the point itself is still valid.
    with suppress(ValueError):
        for exemplar in members(source):
            with suppress(Exception):
                message = _exemplar(exemplar, budget)
                parts += (tag, VARINT[len(message)], message)
    return b"".join(parts)


def _exemplar(exemplar: Any, budget: SizeLimit) -> bytes:
    mapping, value, time, span, trace = read(_exemplar_fields, exemplar)
    pairs, _ = attributes(b"\x3a", mapping, budget)
    span_id, trace_id = identifier(span, 8), identifier(trace, 16)
    ids = b"" if span_id is None or trace_id is None else b"".join((b"\x22\x08", span_id, b"\x2a\x10", trace_id))
    return b"".join((b"\x11", fixed64(time), ids, _number(b"\x31", b"\x19", value), pairs))


def _number(int_tag: bytes, double_tag: bytes, value: Any) -> bytes:
    if issubclass(type(value), int):
        return int_tag + _pack_int64(int64(value))
    return double_tag + _double(value)


def _optional(tag: bytes, value: Any) -> bytes:
    return b"" if value is None else tag + _double(value)


def _double(value: Any) -> bytes:
    """Return eight bytes. An integer beyond the range of a double becomes infinite.

    Raises:
        ValueError: If it is not a number.
    """
    kind = type(value)
    if issubclass(kind, float):
        return pack_double(float.__float__(value))
    if issubclass(kind, int):
        number = int.__int__(value)
        try:
            return pack_double(number)
        except OverflowError:
            return pack_double(float("inf") if number > 0 else float("-inf"))
    # A number type of another library.
    return read(pack_double, value)


def _packed(tag: bytes, code: str, source: Any, encode: Callable[[Any], bytes]) -> bytes:
    """Return a packed field of numbers of eight bytes each."""
    numbers = members(source)
    if not numbers:
        return b""
    try:
        raw = read(lambda values: struct.pack(f"<{len(values)}{code}", *values), numbers)
    except ValueError:
        raw = b"".join(map(encode, numbers))
    return b"".join((tag, VARINT[len(raw)], raw))


def _signed(value: Any) -> bytes:
    """Return a sint32: small numbers of either sign are short."""
    number = max(-(1 << 31), min(int.__int__(value), (1 << 31) - 1))
    return VARINT[number << 1 if number >= 0 else (-number << 1) - 1]


_ROWS: tuple[tuple[type, bytes, Callable[[Any, SizeLimit], bytes]], ...] = (
    (Sum, b"\x3a", _sum_point),
    (Gauge, b"\x2a", _gauge_point),
    (Histogram, b"\x4a", _histogram_point),
    (ExponentialHistogram, b"\x52", _exponential_point),
)
