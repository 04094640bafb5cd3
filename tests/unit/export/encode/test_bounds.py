"""Values without an OTLP type or above a limit are adjusted; what is left out is counted."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import Event
from opentelemetry.trace import SpanContext

from otel_distro.export.encode.request import encode_logs, encode_spans
from tests.support.hostile import HOSTILE
from tests.support.messages import log, logs_of, span, spans_of, value_of


def test_value_without_otlp_type_becomes_text_or_nearest_number() -> None:
    """Values that OTLP cannot represent become a text or the nearest number."""
    forms = {
        "lone surrogate": "\ufffd lone",
        "raising str": "s",
        "str enum": "yes",
        "raising object": "<RaisingObject>",
        "decimal": "1E+999999",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "enum": "<Color>",
        "complex": "<complex>",
        "time of nowhere": "<datetime>",
        "exiting mapping": "<RaisingMapping>",
    }
    for title, text in forms.items():
        assert value_of(spans_of(encode_spans([span(attributes={"x": HOSTILE[title]})]))[0]).string_value == text, title
    numbers = {
        "int of 70 bits": (1 << 63) - 1,
        "negative int of 70 bits": -(1 << 63),
        "raising int": 7,
        "int enum": 1,
    }
    for title, number in numbers.items():
        assert value_of(spans_of(encode_spans([span(attributes={"x": HOSTILE[title]})]))[0]).int_value == number, title


def test_long_text_is_cut_between_characters() -> None:
    """Texts end at 64 KiB of UTF-8, bodies at 256 KiB, names at 4 KiB; no character is split."""
    long = "a" + "\u20ac" * 200_000
    message = spans_of(encode_spans([span(long, attributes={"x": long, "y": "b" * 70_000})]))[0]
    assert value_of(message).string_value == long[: 1 + (65536 - 1) // 3]
    assert value_of(message, "y").string_value == "b" * 65536
    assert message.name == long[: 1 + (4096 - 1) // 3]
    assert logs_of(encode_logs([log("b" * 300_000)]))[0].body.string_value == "b" * 262_144


def test_item_above_limits_counts_what_is_left_out() -> None:
    """An item holds 5,000 values and 1 MiB of text; the rest is in its dropped counts."""
    many = {f"key {i}": i for i in range(15_000)}
    message = spans_of(encode_spans([span(attributes=many)]))[0]
    assert (len(message.attributes), message.dropped_attributes_count) == (5_000, 10_000)
    message = spans_of(encode_spans([span(attributes={}, events=[Event("e", {"i": i}, 1) for i in range(15_000)])]))[0]
    assert len(message.events) + message.dropped_events_count == 15_000
    assert message.dropped_events_count > 0
    message = spans_of(encode_spans([span(attributes={f"key {i}": "x" * 50_000 for i in range(100)})]))[0]
    assert sum(len(pair.value.string_value) for pair in message.attributes) == 1024 * 1024


def test_time_out_of_range_is_clamped() -> None:
    """Times before 1970, above 64 bits, of other types or missing never drop the span."""
    for start, end, expected in (
        (-1, 1 << 70, (0, (1 << 64) - 1)),
        (None, "x", (0, 0)),
        (1.5e18, float("nan"), (15 * 10**17, 0)),
    ):
        message = spans_of(encode_spans([span(start_time=start, end_time=end)]))[0]
        assert (message.start_time_unix_nano, message.end_time_unix_nano) == expected


def test_span_without_identifiers_is_dropped_and_counted() -> None:
    """A span without valid identifiers is dropped with this reason.

    A log record is kept without them.
    """
    for context in (None, SpanContext(1 << 130, 2, False), SpanContext(-1, 2, False)):
        assert encode_spans([span(), span(context=context), span()]).count == 2
        assert encode_spans([span(context=context)]).dropped == {"invalid_ids": 1}
    assert logs_of(encode_logs([log(trace_id=-5, span_id="x")]))[0].body.string_value == "good"


def test_deep_container_is_cut_so_that_decoders_accept_it() -> None:
    """Containers are cut before decoders reject the whole request."""
    value: Any = "bottom"
    for _ in range(200):
        value = {"k": value}
    message = spans_of(encode_spans([span(events=[Event("e", {"x": value}, 1)])]))[0]
    found = value_of(message.events[0])
    depth = 0
    while found.HasField("kvlist_value"):
        found = found.kvlist_value.values[0].value
        depth += 1
    assert (depth, found.string_value) == (30, "...")
