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
    FIELD_1,
    MAX_NAME,
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
    from collections.abc import Callable

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

_levels: dict[str, tuple[Any, bytes]] = {}


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
    shared = location.encoded
    if shared is None or shared[0] is not redactor():
        shared = _encode_shared(location)
    budget.values_left -= len(location.attributes)
    level = _levels.get(severity_text)
    if level is None or level[0] is not severity:
        level = _level(severity, severity_text)
    if not 0 <= timestamp <= UINT64:
        # The application may have set the time of the record to anything.
        timestamp = min(max(timestamp, 0), UINT64)
    try:
        # The usual case, within all limits: see `body`.
        raw = shared[2](value).encode() if type(value) is str and len(value) <= MAX_NAME else None
    except UnicodeEncodeError:
        raw = None
    if raw is None:
        content = body(value, budget)
    else:
        budget.bytes_left -= max(len(raw), len(value))
        content = FIELD_1[len(raw)] + raw
    parts = [pack_times(0x09, timestamp, 0x59, observed), level[1], VARINT[len(content)], content, shared[1]]
    if extras:
        pairs, lost = attributes(b"\x32", extras, budget)
        parts.append(pairs)
        if lost:
            parts += (b"\x38", VARINT[lost])
    last = _last_span
    if span_id != last[1] or trace_id != last[0] or flags != last[2]:
        last = _encode_span(trace_id, span_id, flags)
    parts.append(last[3])
    return b"".join(parts), resource, scope


def _encode_shared(location: CodeLocation) -> tuple[Any, bytes, Callable[[Any], Any]]:
    """Return the redactor, the encoded attributes, and what redacts a body."""
    current = redactor()
    pairs, _ = attributes(b"\x32", location.attributes, SizeLimit())
    location.encoded = current, pairs, current.redaction_policy("").redact
    return location.encoded


def _level(severity: Any, text: str) -> tuple[Any, bytes]:
    """Return the severity, and the bytes of it and of its text, up to the tag of the body."""
    encoded = severity, b"\x10" + VARINT[severity.value] + named(b"\x1a", text) + b"\x2a"
    if len(_levels) < _MAX_LEVELS:
        _levels[text] = encoded
    return encoded


_last_span: tuple[int, int, int, bytes] = (0, 0, 0, _FLAGS[0])
"""Ids and flags of the span of the last record, and their bytes: a span often has many records."""


def _encode_span(trace_id: int, span_id: int, flags: int) -> tuple[int, int, int, bytes]:
    global _last_span
    ids = pack_ids(0x4A10, trace_id >> 64, trace_id & UINT64, 0x5208, span_id) if trace_id and span_id else b""
    # One step: another thread may be doing the same for another record.
    _last_span = encoded = trace_id, span_id, flags, ids + _FLAGS[flags & 0xFF]
    return encoded
