"""A log record as OTLP ``LogRecord``.

Message: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/logs/v1/logs.proto
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.attributes import BoundedAttributes

from otel_distro.export.encode_values import attributes, body
from otel_distro.export.encode_wire import NAMES, SHORT, VARINT, fixed64, identifier, name, uint32

if TYPE_CHECKING:
    from otel_distro.export.encode_wire import Budget

_fields = attrgetter(
    "timestamp",
    "observed_timestamp",
    "trace_id",
    "span_id",
    "trace_flags",
    "severity_number",
    "severity_text",
    "body",
    "attributes",
    "event_name",
)

# By identity: the hash of a member of an Enum is a function written in Python.
_SEVERITIES = {id(severity): b"\x10" + VARINT[severity.value] if severity.value else b"" for severity in SeverityNumber}

_pack_times = struct.Struct("<BQBQ").pack
_pack_ids = struct.Struct(">HQQHQ").pack
_pack_flags = struct.Struct("<BI").pack
_LOW = (1 << 64) - 1


def encode_log(item: Any, budget: Budget) -> tuple[bytes, Any, Any]:
    """Return the message, the resource and the scope of a ``ReadableLogRecord``. Raises what its properties raise."""
    timestamp, observed, trace_id, span_id, flags, severity, severity_text, value, mapping, event = _fields(
        item.log_record
    )
    try:
        times = _pack_times(0x09, timestamp, 0x59, observed)
    except Exception:
        times = b"".join((b"\x09", fixed64(timestamp), b"\x59", fixed64(observed)))
    content = body(value, budget)
    parts = [times, _SEVERITIES.get(id(severity), b"")]
    if severity_text:
        known = NAMES.get(severity_text) if type(severity_text) is str and len(severity_text) <= SHORT else None
        parts += (b"\x1a", known or name(severity_text))
    parts += (b"\x2a", VARINT[len(content)], content)
    pairs, lost = attributes(b"\x32", mapping, budget)
    parts.append(pairs)
    dropped = mapping.dropped if type(mapping) is BoundedAttributes else 0
    if dropped or lost:
        parts += (b"\x38", VARINT[uint32(uint32(dropped) + lost)])
    if flags:
        parts.append(_pack_flags(0x45, uint32(flags)))
    try:
        ids = _pack_ids(0x4A10, trace_id >> 64, trace_id & _LOW, 0x5208, span_id) if trace_id and span_id else None
    except Exception:
        ids = None
    parts.append(_ids(trace_id, span_id) if ids is None else ids)
    if event:
        parts += (b"\x62", name(event))
    return b"".join(parts), item.resource, item.instrumentation_scope


def _ids(trace_id: Any, span_id: Any) -> bytes:
    """Return those of the identifiers that there are: a record without them is still worth reading."""
    encoded = b""
    if trace_id and (raw := identifier(trace_id, 16)) is not None:
        encoded += b"\x4a\x10" + raw
    if span_id and (raw := identifier(span_id, 8)) is not None:
        encoded += b"\x52\x08" + raw
    return encoded
