"""Spans and log records of OTLP as rows of the store.

Protocol: https://opentelemetry.io/docs/specs/otlp/. Old and new semantic conventions are read,
because other senders than this distribution use the store too.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_distro import schema
from otel_distro.local.attributes import LIMITS, Attributes, Cuts, attributes_of, clamp, first_of, to_json, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

# Names from before the conventions were stable, which many instrumentations still use.
_ROUTE = (schema.HTTP_ROUTE.name,)
_METHOD = (schema.HTTP_REQUEST_METHOD.name, "http.method")
_STATUS = (schema.HTTP_RESPONSE_STATUS_CODE.name, "http.status_code")
_DB = (schema.DB_SYSTEM_NAME.name, "db.system")
_MAX_FINGERPRINT = 64


class Failure(NamedTuple):
    """An error that a span event or a log record describes."""

    key: bytes
    ts: int
    trace_id: bytes | None
    span_id: bytes | None
    type: str
    message: str
    stack: str
    fingerprint: str
    """Fingerprint from the sender, empty if it sent none."""


class SpanRow(NamedTuple):
    """The columns of table ``span`` after ``scid``, without the ids of resource and scope."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    name: str
    kind: int
    start_ns: int
    dur_ns: int
    status: int
    status_msg: str | None
    route: str | None
    http_method: str | None
    http_status: int | None
    db_system: str | None
    attrs: str | None
    events: str | None
    links: str | None


class LogRow(NamedTuple):
    """The columns of table ``log``, without the identifiers of resource and scope."""

    key: int
    ts: int
    sev: int
    sev_text: str | None
    body: str | None
    trace_id: bytes | None
    span_id: bytes | None
    attrs: str | None
    event_name: str | None


def span_row(span: Span, cuts: Cuts) -> tuple[SpanRow, list[Failure]] | None:
    """Return the row of ``span`` and its errors; None if its identifiers are not valid."""
    if len(span.trace_id) != 16 or len(span.span_id) != 8:
        return None
    attributes = attributes_of(span.attributes, cuts)
    events = []
    failures = []
    if len(span.events) > LIMITS.children or len(span.links) > LIMITS.children:
        cuts["span events or links left out"] += 1
    for event in span.events[: LIMITS.children]:
        found = attributes_of(event.attributes, cuts)
        name = cuts.text(event.name, LIMITS.value)
        events.append({"name": name, "ts": event.time_unix_nano, "attrs": found})
        if event.name == schema.EXCEPTION.name:
            failure = _failure(found, event.time_unix_nano, span.trace_id, span.span_id, b"")
            if failure:
                failures.append(failure)
    links = [
        {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex(), "attrs": attributes_of(link.attributes, cuts)}
        for link in span.links[: LIMITS.children]
    ]
    status = first_of(attributes, *_STATUS)
    row = SpanRow(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id or None,
        name=cuts.text(span.name, LIMITS.value),
        kind=span.kind,
        start_ns=clamp(span.start_time_unix_nano),
        # Clocks can be set back while a span is open.
        dur_ns=clamp(max(0, span.end_time_unix_nano - span.start_time_unix_nano)),
        status=span.status.code,
        status_msg=cuts.text(span.status.message, LIMITS.value) or None,
        route=_text(first_of(attributes, *_ROUTE)),
        http_method=_text(first_of(attributes, *_METHOD)),
        http_status=status if isinstance(status, int) else None,
        db_system=_text(first_of(attributes, *_DB)),
        attrs=to_json(attributes),
        events=to_json(events),
        links=to_json(links),
    )
    return row, failures


def log_rows(records: Iterator[LogRecord], origin: bytes, cuts: Cuts) -> Iterator[tuple[LogRow, Failure | None]]:
    """Yield the rows of one scope's records in one batch, with the errors they describe.

    ``origin`` identifies resource and scope. Equal records of one batch are numbered, so that all
    are kept, and a batch that is delivered again gets the same keys.
    """
    seen: Counter[bytes] = Counter()
    for record in records:
        content = record.SerializeToString(deterministic=True)
        digest = hashlib.blake2b(content, key=origin, digest_size=8).digest()
        seen[digest] += 1
        key = int.from_bytes(digest, "big", signed=True)
        if seen[digest] > 1:
            again = hashlib.blake2b(digest, salt=seen[digest].to_bytes(8, "big"), digest_size=8).digest()
            key = int.from_bytes(again, "big", signed=True)
        yield _log_row(record, key, cuts)


def _log_row(record: LogRecord, key: int, cuts: Cuts) -> tuple[LogRow, Failure | None]:
    attributes = attributes_of(record.attributes, cuts)
    body = value_of(record.body, cuts, LIMITS.text)
    ts = clamp(record.time_unix_nano or record.observed_time_unix_nano)
    traced = len(record.trace_id) == 16
    row = LogRow(
        key=key,
        ts=ts,
        sev=record.severity_number,
        sev_text=cuts.text(record.severity_text, LIMITS.value) or None,
        body=body if isinstance(body, str) else to_json(body),
        trace_id=record.trace_id if traced else None,
        span_id=record.span_id if traced and len(record.span_id) == 8 else None,
        attrs=to_json(attributes),
        event_name=cuts.text(record.event_name, LIMITS.value) or None,
    )
    other = key.to_bytes(8, "big", signed=True)
    return row, _failure(attributes, ts, row.trace_id, row.span_id, other)


def _failure(
    attributes: Attributes, ts: int, trace_id: bytes | None, span_id: bytes | None, otherwise: bytes
) -> Failure | None:
    """Return the error described by ``exception.*``; None for an exception that is no error.

    Its key is (trace, span, class), or ``otherwise`` without a trace. The class is the last part of
    the type, because spans carry its module and log records often do not.
    """
    kind = _text(attributes.get(schema.EXCEPTION_TYPE.name))
    if not kind or attributes.get(schema.EXCEPTION_ANSWER.name):
        return None
    error_class = kind.rpartition(".")[2].encode("utf-8", "replace")
    key = trace_id + (span_id or b"") + error_class if trace_id else otherwise
    return Failure(
        key=hashlib.blake2b(key, digest_size=12).digest(),
        ts=clamp(ts),
        trace_id=trace_id,
        span_id=span_id,
        type=kind,
        message=(_text(attributes.get(schema.EXCEPTION_MESSAGE.name)) or "")[: LIMITS.value],
        stack=_text(attributes.get(schema.EXCEPTION_STACKTRACE.name)) or "",
        fingerprint=(_text(attributes.get(schema.EXCEPTION_FINGERPRINT.name)) or "")[:_MAX_FINGERPRINT],
    )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
