"""A log record as OTLP ``LogRecord``, from the SDK's record or from an entry of the fast path.

Message: opentelemetry/proto/logs/v1/logs.proto in
https://github.com/open-telemetry/opentelemetry-proto
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

from otel_distro._otel.sdk import SeverityNumber
from otel_distro.export.encode.protobuf import (
    UINT64,
    VARINT,
    SizeLimit,
    fixed64,
    identifier,
    named,
    pack_ids,
    pack_times,
    read,
    uint32,
)
from otel_distro.export.encode.redact import redactor
from otel_distro.export.encode.values import attributes, body
from otel_distro.export.log_entry import LogEntry

if TYPE_CHECKING:
    from otel_distro.export.log_entry import CodeLocation

_fields = attrgetter(
    "log_record.timestamp",
    "log_record.observed_timestamp",
    "log_record.trace_id",
    "log_record.span_id",
    "log_record.trace_flags",
    "log_record.severity_number",
    "log_record.severity_text",
    "log_record.body",
    "log_record.attributes",
    "log_record.event_name",
    "resource",
    "instrumentation_scope",
)

# By identity: hashing an Enum member calls a Python function.
_SEVERITIES = {id(severity): b"\x10" + VARINT[severity.value] if severity.value else b"" for severity in SeverityNumber}

_pack_flags = struct.Struct("<BI").pack
_MAX_TRACE_ID = (1 << 128) - 1

_FLAGS = {flags: struct.pack("<BI", 0x45, flags) for flags in range(256)}
_MAX_LEVELS = 200

_levels: dict[tuple[int, str], bytes] = {}


def encode_log(item: Any, budget: SizeLimit) -> tuple[bytes, Any, Any]:
    """Return the message, the resource and the scope of a ``ReadableLogRecord`` or a ``LogEntry``.

    Raises:
        ValueError: If it cannot be read at all.
    """
    if type(item) is LogEntry:
        return encode_entry(item, budget)
    timestamp, observed, trace_id, span_id, flags, severity, severity_text, value, mapping, event, resource, scope = (
        read(_fields, item)
    )
    if type(timestamp) is int and type(observed) is int and 0 <= timestamp <= UINT64 and 0 <= observed <= UINT64:
        times = pack_times(0x09, timestamp, 0x59, observed)
    else:
        times = b"".join((b"\x09", fixed64(timestamp), b"\x59", fixed64(observed)))
    content = body(value, budget)
    pairs, lost = attributes(b"\x32", mapping, budget)
    parts = [
        times,
        _SEVERITIES.get(id(severity), b""),
        named(b"\x1a", severity_text),
        b"\x2a",
        VARINT[len(content)],
        content,
        pairs,
        _ids(trace_id, span_id),
        named(b"\x62", event),
    ]
    dropped = mapping.dropped if type(mapping) is BoundedAttributes else 0
    if dropped or lost:
        parts += (b"\x38", VARINT[uint32(uint32(dropped) + lost)])
    if flags is not None:
        parts.append(_pack_flags(0x45, uint32(flags)))
    return b"".join(parts), resource, scope


def _ids(trace_id: Any, span_id: Any) -> bytes:
    """Return the valid identifiers: a record without them is still useful."""
    if type(trace_id) is int and type(span_id) is int and 0 < trace_id <= _MAX_TRACE_ID and 0 < span_id <= UINT64:
        return pack_ids(0x4A10, trace_id >> 64, trace_id & UINT64, 0x5208, span_id)
    encoded = b""
    if (raw := identifier(trace_id, 16)) is not None and any(raw):
        encoded += b"\x4a\x10" + raw
    if (raw := identifier(span_id, 8)) is not None and any(raw):
        encoded += b"\x52\x08" + raw
    return encoded


def encode_entry(entry: LogEntry, budget: SizeLimit) -> tuple[bytes, Any, Any]:
    """Return the message, the resource and the scope of an entry.

    Its fields are known to be valid. The message equals that of :func:`encode_log` for the same
    record.
    """
    timestamp, observed, trace_id, span_id, flags, severity, severity_text, value, location, extras, resource, scope = (
        entry
    )
    content = body(value, budget)
    shared = location.encoded
    if shared is None or shared[0] is not redactor():
        shared = _encode_shared(location)
    budget.values_left -= len(location.attributes)
    # By identity: hashing an Enum member calls a Python function.
    level = _levels.get((id(severity), severity_text)) or _level(severity, severity_text)
    # The application may have set the time of the record to anything.
    times = pack_times(0x09, min(max(timestamp, 0), UINT64), 0x59, observed)
    parts = [times, level, b"\x2a", VARINT[len(content)], content, shared[1]]
    if extras:
        pairs, lost = attributes(b"\x32", extras, budget)
        parts.append(pairs)
        if lost:
            parts += (b"\x38", VARINT[lost])
    if trace_id and span_id:
        parts.append(pack_ids(0x4A10, trace_id >> 64, trace_id & UINT64, 0x5208, span_id))
    parts.append(_FLAGS[flags & 0xFF])
    return b"".join(parts), resource, scope


def _encode_shared(location: CodeLocation) -> tuple[Any, bytes]:
    encoded = redactor(), attributes(b"\x32", location.attributes, SizeLimit())[0]
    location.encoded = encoded
    return encoded


def _level(severity: Any, text: str) -> bytes:
    encoded = b"\x10" + VARINT[severity.value] + named(b"\x1a", text)
    if len(_levels) < _MAX_LEVELS:
        _levels[id(severity), text] = encoded
    return encoded
