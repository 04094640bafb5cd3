"""A span as OTLP ``Span``.

Message: opentelemetry/proto/trace/v1/trace.proto in
https://github.com/open-telemetry/opentelemetry-proto
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from otel_distro._otel.sdk import SPAN_CLASSES, SPAN_FIELDS
from otel_distro._otel.span_parts import SDK_ATTRIBUTES, SDK_LIST, UNSET, LazyAttributes, LazyList
from otel_distro.export.encode.protobuf import (
    MAX_TEXT,
    NAMES,
    SHORT,
    VARINT,
    fixed64,
    identifier,
    is_interrupt,
    members,
    name,
    named,
    pack_times,
    plain_text,
    read,
    uint32,
    utf8,
)
from otel_distro.export.encode.redact import redactor
from otel_distro.export.encode.values import attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_distro.export.encode.protobuf import SizeLimit

_public_fields = attrgetter(
    "context",
    "parent",
    "name",
    "kind",
    "start_time",
    "end_time",
    "attributes",
    "events",
    "links",
    "status",
    "resource",
    "instrumentation_scope",
)
_dropped_fields = attrgetter("dropped_attributes", "dropped_events", "dropped_links")
_event_fields = attrgetter("name", "timestamp", "attributes")
_link_fields = attrgetter("context", "attributes")
_context_fields = attrgetter("trace_id", "span_id", "is_remote", "trace_state")
_status_fields = attrgetter("status_code", "description")

# By identity: hashing an Enum member calls a Python function.
_KINDS = {
    id(SpanKind.INTERNAL): b"\x30\x01",
    id(SpanKind.SERVER): b"\x30\x02",
    id(SpanKind.CLIENT): b"\x30\x03",
    id(SpanKind.PRODUCER): b"\x30\x04",
    id(SpanKind.CONSUMER): b"\x30\x05",
}
_CODES = {id(StatusCode.UNSET): b"", id(StatusCode.OK): b"\x18\x01", id(StatusCode.ERROR): b"\x18\x02"}
_NO_STATUS = b"\x7a\x00"

# Flags: whether the other span is remote is known (0x100), and it is remote (0x200).
_FLAGS = {False: b"\x85\x01\x00\x01\x00\x00", True: b"\x85\x01\x00\x03\x00\x00"}
_LINK_FLAGS = {False: b"\x35\x00\x01\x00\x00", True: b"\x35\x00\x03\x00\x00"}

_pack_span_id = struct.Struct(">HQ").pack
_pack_span_and_parent = struct.Struct(">HQHQ").pack
_NO_STATE = TraceState.get_default()
_MAX_TRACE_STATE = 32
_MAX_TRACE_STATE_TEXT = 512


class InvalidIdsError(ValueError):
    """A span whose identifiers are missing or invalid."""


def encode_span(span: Any, budget: SizeLimit) -> tuple[bytes, Any, Any]:
    """Return the message, the resource and the scope of a ``ReadableSpan``.

    Raises:
        InvalidIdsError: If its context has no valid identifiers.
        ValueError: If the span cannot be read at all.
    """
    dropped = dropped_events = dropped_links = 0
    if type(span) in SPAN_CLASSES:
        fields = SPAN_FIELDS(span)
    else:
        # A subclass may return other attributes or names than it holds: a usual way to redact.
        fields = read(_public_fields, span)
        dropped, dropped_events, dropped_links = read(_dropped_fields, span)
    context, parent, title, kind, start, end, mapping, events, links, status, resource, scope = fields
    # The usual case is inline: each function call would cost a tenth of a microsecond.
    ids = None
    remote = False
    if type(context) is SpanContext and (parent is None or type(parent) is SpanContext):
        trace_id, span_id, _, _, state, _ = context
        try:
            # Spans of one trace mostly come together, and share the number.
            known, trace = _last_trace
            if known is not trace_id:
                trace = _remember_trace(trace_id)
            if parent is None:
                ids = trace + _pack_span_id(0x1208, span_id)
            else:
                remote = parent[2] is True
                ids = trace + _pack_span_and_parent(0x1208, span_id, 0x2208, parent[1])
            if state is not _NO_STATE and (type(state) is not TraceState or len(state)):
                ids += _trace_state(state)
        except (TypeError, OverflowError, struct.error):
            ids = None
    if ids is None:
        ids, remote = _checked_ids(context, parent)
    encoded_name = NAMES.get(title) if type(title) is str and len(title) <= SHORT else None
    pairs, lost = attributes(b"\x4a", mapping, budget)
    parts = [
        ids,
        b"\x2a",
        name(title) if encoded_name is None else encoded_name,
        _KINDS.get(id(kind), b""),
        _times(start, end),
        pairs,
        _FLAGS[remote],
        _NO_STATUS if status is UNSET else _status(status, budget),
    ]
    if type(mapping) is LazyAttributes or type(mapping) is SDK_ATTRIBUTES:
        dropped = mapping.dropped
    if dropped or lost:
        parts.append(_count(b"\x50", dropped, lost))
    if type(events) is not LazyList:
        parts += _repeated(b"\x5a", b"\x60", events, _event, budget, dropped_events)
    if type(links) is not LazyList:
        parts += _repeated(b"\x6a", b"\x70", links, _link, budget, dropped_links)
    return b"".join(parts), resource, scope


_last_trace: tuple[object, bytes] = (object(), b"")
"""The last trace id and its field."""


def _remember_trace(trace_id: Any) -> bytes:
    """Return the field with a trace id, which replaces :data:`_last_trace`.

    Raises:
        TypeError: It is no number.
        OverflowError: It is out of range.
    """
    global _last_trace
    field = b"\x0a\x10" + int.to_bytes(trace_id, 16, "big")
    _last_trace = (trace_id, field)
    return field


def _times(start: Any, end: Any) -> bytes:
    if type(start) is int and type(end) is int:
        try:
            return pack_times(0x39, start, 0x41, end)
        except struct.error:
            pass
    return b"".join((b"\x39", fixed64(start), b"\x41", fixed64(end)))


def _checked_ids(context: Any, parent: Any) -> tuple[bytes, bool]:
    """Return the identifiers field by field, where packing them in one step failed.

    Also whether the parent is remote.
    """
    try:
        trace, span, _, state = read(_context_fields, context)
        trace_id, span_id = identifier(trace, 16), identifier(span, 8)
    except ValueError:
        raise InvalidIdsError from None
    if trace_id is None or span_id is None:
        raise InvalidIdsError
    ids = b"".join((b"\x0a\x10", trace_id, b"\x12\x08", span_id, _trace_state(state)))
    if parent is None:
        return ids, False
    try:
        _, parent_span, remote, _ = read(_context_fields, parent)
    except ValueError:
        return ids, False
    parent_id = identifier(parent_span, 8)
    return (ids if parent_id is None else b"".join((ids, b"\x22\x08", parent_id))), remote is True


def _trace_state(state: Any) -> bytes:
    try:
        pairs = read(
            lambda mapping: (
                [] if mapping is None else list(zip(range(_MAX_TRACE_STATE), mapping.items(), strict=False))
            ),
            state,
        )
        text = ",".join([f"{_short(key)}={_short(value)}" for _, (key, value) in pairs])
    except (ValueError, TypeError):
        return b""
    raw = utf8(redactor().text(text), MAX_TEXT)
    return b"\x1a" + VARINT[len(raw)] + raw


def _short(value: Any) -> str:
    return plain_text(value)[:_MAX_TRACE_STATE_TEXT]


def _status(status: Any, budget: SizeLimit) -> bytes:
    if status is None:
        return b""
    if type(status) is Status:
        code, description = status.status_code, status.description
    else:
        try:
            code, description = read(_status_fields, status)
        except ValueError:
            return b""
    encoded_code = _CODES.get(id(code), b"")
    if description is None:
        return b"\x7a\x02" + encoded_code if encoded_code else _NO_STATUS
    raw = budget.text(plain_text(description))
    message = b"".join((b"\x12", VARINT[len(raw)], raw, encoded_code))
    return b"".join((b"\x7a", VARINT[len(message)], message))


def _repeated(
    tag: bytes,
    dropped_tag: bytes,
    source: Any,
    encode: Callable[[Any, SizeLimit], bytes],
    budget: SizeLimit,
    dropped: Any,
) -> list[bytes]:
    """Return the fields of all events or links, and the count of the dropped ones."""
    parts: list[bytes] = []
    lost = 0
    found: Iterable[Any] = ()
    if type(source) is SDK_LIST or type(source) is LazyList:
        dropped = source.dropped
        found = tuple(source)
    elif source is not None:
        try:
            found = members(source)
        except ValueError:
            lost = 1
    for member in found:
        if budget.values_left <= 0:
            lost += 1
            continue
        budget.values_left -= 1
        try:
            message = encode(member, budget)
        except BaseException as error:
            if is_interrupt(error):
                raise
            lost += 1
            continue
        parts += (tag, VARINT[len(message)], message)
    if dropped or lost:
        parts.append(_count(dropped_tag, dropped, lost))
    return parts


def _event(event: Any, budget: SizeLimit) -> bytes:
    title, timestamp, mapping = _event_fields(event) if type(event) is Event else read(_event_fields, event)
    pairs, lost = attributes(b"\x1a", mapping, budget)
    return b"".join((b"\x09", fixed64(timestamp), named(b"\x12", title), pairs, _dropped(b"\x20", mapping, lost)))


def _link(link: Any, budget: SizeLimit) -> bytes:
    context, mapping = _link_fields(link) if type(link) is Link else read(_link_fields, link)
    trace, span, remote, _ = read(_context_fields, context)
    trace_id, span_id = identifier(trace, 16), identifier(span, 8)
    if trace_id is None or span_id is None:
        raise InvalidIdsError
    pairs, lost = attributes(b"\x22", mapping, budget)
    parts = (b"\x0a\x10", trace_id, b"\x12\x08", span_id, pairs, _dropped(b"\x28", mapping, lost))
    return b"".join((*parts, _LINK_FLAGS[remote is True]))


def _dropped(tag: bytes, mapping: Any, lost: int) -> bytes:
    dropped = mapping.dropped if type(mapping) is SDK_ATTRIBUTES else 0
    return _count(tag, dropped, lost) if dropped or lost else b""


def _count(tag: bytes, dropped: Any, lost: int) -> bytes:
    return tag + VARINT[uint32(uint32(dropped) + lost)]
