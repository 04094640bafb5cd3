"""Splits a serialised OTLP request in two, to find the item that a collector rejects.

Works on the wire format (https://protobuf.dev/programming-guides/encoding/) and decodes nothing.
Requests of all three signals hold resources, these hold scopes, and these hold items: spans, log
records, or metrics, of which the points are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_distro.export.encode.protobuf import VARINT

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTES = 2
_WIDTHS = {1: 8, 5: 4}
_METRIC_DATA = frozenset({5, 7, 9, 10, 11})
_METRIC_FIELDS = _METRIC_DATA | {1, 2, 3, 12}

# The fields that hold the next level: in a request, resource, scope, metric, and data of a metric.
_LEVELS = (frozenset({1}), frozenset({2}), frozenset({2}), _METRIC_DATA, frozenset({1}))
_ITEM = 3
_POINT = 5


class _Field(NamedTuple):
    """A field of a message: number, wire type, start of the tag, start of the value, and end."""

    number: int
    kind: int
    start: int
    value: int
    end: int


def count_items(body: bytes) -> int:
    """Return the number of items of a request; 0 for bytes that are not a request."""
    try:
        return _count(body, 0)
    except ValueError:
        return 0


def split(body: bytes) -> tuple[bytes, bytes] | None:
    """Split a request into one with the first half of the items and one with the rest.

    Both keep the resources and scopes of their items. Concatenated requests are a request.

    Returns:
        The two requests; None for fewer than two items, and for bytes that are not a request.
    """
    try:
        total = _count(body, 0)
        return _cut(body, 0, total // 2) if total > 1 else None
    except ValueError:
        return None


def _count(message: bytes, level: int) -> int:
    """Return the number of items of a message at this level."""
    if level == _POINT or (level == _ITEM and not _is_metric(message)):
        return 1
    return sum(
        _count(message[field.value : field.end], level + 1) for field in fields_of(message) if _holds(field, level)
    )


def _cut(message: bytes, level: int, quota: int) -> tuple[bytes, bytes]:
    """Split a message at this level: the first ``quota`` items, and the rest."""
    first: list[bytes] = []
    second: list[bytes] = []
    for field in fields_of(message):
        whole = message[field.start : field.end]
        if not _holds(field, level):
            first.append(whole)
            second.append(whole)
            continue
        member = message[field.value : field.end]
        count = _count(member, level + 1)
        if count <= quota:
            first.append(whole)
            quota -= count
        elif quota == 0:
            second.append(whole)
        else:
            tag = VARINT[field.number << 3 | _BYTES]
            for half, part in zip((first, second), _cut(member, level + 1, quota), strict=True):
                half.extend((tag, VARINT[len(part)], part))
            quota = 0
    return b"".join(first), b"".join(second)


def _holds(field: _Field, level: int) -> bool:
    return field.kind == _BYTES and field.number in _LEVELS[level]


def _is_metric(item: bytes) -> bool:
    """Whether an item is a metric with data: it has a name and one message of data points.

    Spans and log records hold numbers as well.
    """
    fields = list(fields_of(item))
    return (
        all(field.kind == _BYTES and field.number in _METRIC_FIELDS for field in fields)
        and any(field.number == 1 for field in fields)
        and sum(field.number in _METRIC_DATA for field in fields) == 1
    )


def fields_of(message: bytes) -> Iterator[_Field]:
    """Yield the fields of a message.

    Raises:
        ValueError: If the bytes are not a message.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = varint(message, position)
        kind = tag & 7
        value = position
        if kind == _BYTES:
            size, value = varint(message, position)
            position = value + size
        elif kind in _WIDTHS:
            position += _WIDTHS[kind]
        elif kind == 0:
            _, position = varint(message, position)
        else:
            raise ValueError("not a type that OTLP has")
        if position > len(message) or tag < 8:
            raise ValueError("not a message")
        yield _Field(tag >> 3, kind, start, value, position)


def varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the number at ``position`` and the position after it.

    Raises:
        ValueError: If there is no varint.
    """
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("not a number")
