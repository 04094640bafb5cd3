"""A span as OTLP ``Span``.

Message: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanKind, StatusCode

from otel_distro._upstream import SPAN_FIELDS
from otel_distro.export.encode_values import attributes
from otel_distro.export.encode_wire import (
    MAX_TEXT,
    NAMES,
    SHORT,
    VARINT,
    fixed64,
    identifier,
    is_interrupt,
    name,
    plain_text,
    uint32,
    utf8,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_distro.export.encode_wire import Budget

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

# By identity: the hash of a member of an Enum is a function written in Python.
_KINDS = {
    id(SpanKind.INTERNAL): b"\x30\x01",
    id(SpanKind.SERVER): b"\x30\x02",
    id(SpanKind.CLIENT): b"\x30\x03",
    id(SpanKind.PRODUCER): b"\x30\x04",
    id(SpanKind.CONSUMER): b"\x30\x05",
}
_CODES = {id(StatusCode.UNSET): b"", id(StatusCode.OK): b"\x18\x01", id(StatusCode.ERROR): b"\x18\x02"}
_NO_STATUS = b"\x7a\x00"

# Flags: it is known whether the parent is remote (0x100), and it is (0x200).
_FLAGS = {False: b"\x85\x01\x00\x01\x00\x00", True: b"\x85\x01\x00\x03\x00\x00"}
_LINK_FLAGS = {False: b"\x35\x00\x01\x00\x00", True: b"\x35\x00\x03\x00\x00"}

_pack_ids = struct.Struct(">HQQHQ").pack
_pack_ids_and_parent = struct.Struct(">HQQHQHQ").pack
_pack_times = struct.Struct("<BQBQ").pack
_LOW = (1 << 64) - 1


class InvalidIdsError(ValueError):
    """A span without identifiers that could be sent."""


def encode_span(span: Any, budget: Budget) -> tuple[bytes, Any, Any]:
    """Return the message, the resource and the scope of a ``ReadableSpan``.

    Raises ``InvalidIdsError`` where there is no context that has identifiers, and what properties of the span raise.
    """
    # A class derived from it may give other attributes or names than it holds: redaction is often done so.
    own = type(span) is ReadableSpan
    context, parent, title, kind, start, end, mapping, events, links, status, resource, scope = (
        SPAN_FIELDS(span) if own else _public_fields(span)
    )
    try:
        trace_id, span_id, _, _, state, _ = context
        remote = False
        if parent is None:
            ids = _pack_ids(0x0A10, trace_id >> 64, trace_id & _LOW, 0x1208, span_id)
        else:
            remote = parent[2]
            ids = _pack_ids_and_parent(0x0A10, trace_id >> 64, trace_id & _LOW, 0x1208, span_id, 0x2208, parent[1])
        state = _trace_state(state) if state else b""
    except Exception:
        ids, remote, state = _ids(context, parent)
    try:
        times = _pack_times(0x39, start, 0x41, end)
    except Exception:
        times = b"".join((b"\x39", fixed64(start), b"\x41", fixed64(end)))
    encoded_name = NAMES.get(title) if type(title) is str and len(title) <= SHORT else None
    pairs, lost = attributes(b"\x4a", mapping, budget)
    parts = [
        ids,
        state,
        b"\x2a",
        encoded_name or name(title),
        _KINDS.get(id(kind), b""),
        times,
        pairs,
        _FLAGS[remote is True],
        _status(status, budget),
    ]
    dropped = mapping.dropped if type(mapping) is BoundedAttributes else 0 if own else span.dropped_attributes
    if dropped or lost:
        parts += (b"\x50", VARINT[uint32(uint32(dropped) + lost)])
    if events or not own or (type(events) is BoundedList and events.dropped):
        parts += _repeated(b"\x5a", b"\x60", events, _event, budget, 0 if own else span.dropped_events)
    if links or not own or (type(links) is BoundedList and links.dropped):
        parts += _repeated(b"\x6a", b"\x70", links, _link, budget, 0 if own else span.dropped_links)
    return b"".join(parts), resource, scope


def _ids(context: Any, parent: Any) -> tuple[bytes, bool, bytes]:
    """Do in small steps what failed in one."""
    trace_id, span_id = identifier(context.trace_id, 16), identifier(context.span_id, 8)
    if trace_id is None or span_id is None:
        raise InvalidIdsError
    ids = b"".join((b"\x0a\x10", trace_id, b"\x12\x08", span_id))
    try:
        parent_id = identifier(parent.span_id, 8) if parent else None
        remote = parent is not None and parent.is_remote is True
    except Exception:
        parent_id, remote = None, False
    if parent_id is not None:
        ids += b"\x22\x08" + parent_id
    try:
        state = _trace_state(context.trace_state)
    except Exception:
        state = b""
    return ids, remote, state


def _trace_state(state: Any) -> bytes:
    if not state:
        return b""
    text = ",".join(f"{plain_text(key)}={plain_text(value)}" for key, value in state.items())
    raw = utf8(text, MAX_TEXT)
    return b"\x1a" + VARINT[len(raw)] + raw


def _status(status: Any, budget: Budget) -> bytes:
    if status is None:
        return b""
    code = _CODES.get(id(status.status_code), b"")
    description = status.description
    if not description:
        return b"\x7a\x02" + code if code else _NO_STATUS
    raw = budget.text(plain_text(description))
    message = b"".join((b"\x12", VARINT[len(raw)], raw, code))
    return b"".join((b"\x7a", VARINT[len(message)], message))


def _repeated(tag: bytes, dropped_tag: bytes, source: Any, encode: Any, budget: Budget, dropped: Any) -> list[bytes]:
    """Return the fields of all events or links, and of how many are missing."""
    parts: list[bytes] = []
    lost = 0
    try:
        if type(source) is BoundedList:
            dropped = source.dropped
        members: Sequence[Any] = tuple(source)
    except Exception:
        members, lost = (), 1
    for index, member in enumerate(members):
        if budget.values <= 0:
            lost += len(members) - index
            break
        budget.values -= 1
        try:
            message = encode(member, budget)
        except BaseException as error:
            if is_interrupt(error):
                raise
            lost += 1
            continue
        parts += (tag, VARINT[len(message)], message)
    if dropped or lost:
        parts += (dropped_tag, VARINT[uint32(uint32(dropped) + lost)])
    return parts


def _event(event: Any, budget: Budget) -> bytes:
    title = event.name
    mapping = event.attributes
    encoded_name = NAMES.get(title) if type(title) is str and len(title) <= SHORT else None
    pairs, lost = attributes(b"\x1a", mapping, budget)
    dropped = mapping.dropped if type(mapping) is BoundedAttributes else getattr(event, "dropped_attributes", 0)
    parts = (b"\x09", fixed64(event.timestamp), b"\x12", encoded_name or name(title), pairs)
    return b"".join(parts) + _dropped(b"\x20", dropped, lost)


def _link(link: Any, budget: Budget) -> bytes:
    context = link.context
    mapping = link.attributes
    trace_id, span_id = identifier(context.trace_id, 16), identifier(context.span_id, 8)
    if trace_id is None or span_id is None:
        raise InvalidIdsError
    pairs, lost = attributes(b"\x22", mapping, budget)
    dropped = mapping.dropped if type(mapping) is BoundedAttributes else getattr(link, "dropped_attributes", 0)
    parts = (b"\x0a\x10", trace_id, b"\x12\x08", span_id, pairs, _LINK_FLAGS[context.is_remote is True])
    return b"".join(parts) + _dropped(b"\x28", dropped, lost)


def _dropped(tag: bytes, dropped: Any, lost: int) -> bytes:
    return tag + VARINT[uint32(uint32(dropped) + lost)] if dropped or lost else b""
