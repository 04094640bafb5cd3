"""A log record of ours as OTLP ``LogRecord``, equal to what :mod:`encode_logs` makes of it: its fields are known to be sound."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from otel_distro.export.encode.protobuf import UINT64, VARINT, SizeLimit, named, pack_ids, pack_times
from otel_distro.export.encode.redact import redactor
from otel_distro.export.encode.values import attributes, body

if TYPE_CHECKING:
    from otel_distro.export.log_entry import CodeLocation, LogEntry

_FLAGS = {flags: struct.pack("<BI", 0x45, flags) for flags in range(256)}
_MOST_LEVELS = 200

_levels: dict[tuple[int, str], bytes] = {}


def encode_entry(entry: LogEntry, budget: SizeLimit) -> tuple[bytes, Any, Any]:
    """Return the message, the resource and the scope of an entry."""
    timestamp, observed, trace_id, span_id, flags, severity, severity_text, value, place, extras, resource, scope = (
        entry
    )
    content = body(value, budget)
    shared = place.encoded
    if shared is None or shared[0] is not redactor():
        shared = _shared(place)
    budget.values -= len(place.attributes)
    # By identity: the hash of a member of an Enum is a function written in Python.
    level = _levels.get((id(severity), severity_text)) or _level(severity, severity_text)
    # The time of a record is whatever somebody put there.
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


def _shared(place: CodeLocation) -> tuple[Any, bytes]:
    encoded = redactor(), attributes(b"\x32", place.attributes, SizeLimit())[0]
    place.encoded = encoded
    return encoded


def _level(severity: Any, text: str) -> bytes:
    encoded = b"\x10" + VARINT[severity.value] + named(b"\x1a", text)
    if len(_levels) < _MOST_LEVELS:
        _levels[id(severity), text] = encoded
    return encoded
