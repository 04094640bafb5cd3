"""OTLP attribute values as JSON, bounded by :data:`LIMITS`."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from otel_distro import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Attributes = dict[str, Any]
MAX_INT = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """Maximum sizes within one item. What is cut is counted."""

    attributes: int = 128
    elements: int = 1024
    value: int = 16 * 1024
    text: int = 64 * 1024
    children: int = 128
    exemplars: int = 5


LIMITS = Limits()

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LONG_KEYS = frozenset({schema.EXCEPTION_STACKTRACE.name})


class Cuts(Counter[str]):
    """Number of cuts, by reason."""

    def text(self, value: str, limit: int) -> str:
        """Return at most ``limit`` characters of ``value``."""
        if len(value) <= limit:
            return value
        self["value shortened"] += 1
        return value[:limit]


def value_of(value: AnyValue, cuts: Cuts, limit: int = LIMITS.value) -> Any:
    """Return ``value`` as JSON can hold it.

    Bytes become base64, NaN and the infinities become their names.
    """
    kind = value.WhichOneof("value")
    if kind == "string_value":
        text = value.string_value
        return text if len(text) <= limit else cuts.text(text, limit)
    if kind == "int_value":
        return value.int_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "double_value":
        return value.double_value if math.isfinite(value.double_value) else str(value.double_value)
    if kind == "array_value":
        if len(value.array_value.values) > LIMITS.elements:
            cuts["elements left out"] += 1
        return [value_of(v, cuts, limit) for v in islice(value.array_value.values, LIMITS.elements)]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values, cuts)
    if kind == "bytes_value":
        return cuts.text(base64.b64encode(value.bytes_value).decode("ascii"), limit)
    return None


def attributes_of(pairs: Iterable[KeyValue], cuts: Cuts) -> Attributes:
    """Return the first :attr:`Limits.attributes` of ``pairs``."""
    found: Attributes = {}
    for number, pair in enumerate(pairs):
        if number == LIMITS.attributes:
            cuts["attributes left out"] += 1
            break
        key = pair.key
        limit = LIMITS.text if key in _LONG_KEYS else LIMITS.value
        found[key if len(key) <= limit else cuts.text(key, limit)] = value_of(pair.value, cuts, limit)
    return found


def to_json(value: Any) -> str | None:
    """Return compact JSON, or None for an empty value."""
    return _encode(value) if value else None


def clamp(number: int) -> int:
    """Return ``number`` clamped to SQLite's signed 64 bits; OTLP's are unsigned."""
    return min(number, MAX_INT)


def first_of(attributes: Attributes, *names: str) -> Any:
    """Return the first value found under ``names``, or None."""
    for name in names:
        if name in attributes:
            return attributes[name]
    return None
