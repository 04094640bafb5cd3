"""No secret is encoded, wherever it is; what only resembles one is encoded as upstream does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as upstream_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as upstream_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as upstream_spans
from opentelemetry.sdk.metrics import Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState

from otel_distro import schema
from otel_distro.export.encode.redact import redactor, report_hidden, reset_after_fork
from otel_distro.export.encode.request import encode_logs, encode_metrics, encode_spans
from otel_distro.redaction import MASK
from tests.support.messages import CONTEXT, RESOURCE, SCOPE, log, logs_of, span, spans_of, value_of
from tests.support.redaction_corpus import CANARY, GITHUB, NEAR_MISSES, PLANTED, NearMiss, Planted

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

SECRET = f"password={CANARY}"


@pytest.fixture(autouse=True)
def _from_zero() -> None:
    reset_after_fork()


def spans_with(attributes: dict[str, Any], text: str) -> list[Any]:
    """Return spans with the attributes and the text in every place that a span has for them."""
    scope = InstrumentationScope("shop", "1.0", None, attributes)
    # Values of a key are cached from its second use on.
    return [
        span(attributes=attributes),
        span(attributes=attributes),
        span(text, status=Status(StatusCode.ERROR, text)),
        span(events=[Event(text, attributes, 1)], links=[Link(CONTEXT, attributes)]),
        span(resource=Resource(attributes), instrumentation_scope=scope),
    ]


def logs_with(attributes: dict[str, Any], text: str) -> list[Any]:
    """Return log records with the attributes and the text in every place for them."""
    return [
        log(text, event_name=text, severity_text=text),
        log({"outer": [attributes, (attributes, text)]}),
        log(attributes=attributes),
        log(attributes={"outer": {"inner": attributes}}),
    ]


def metrics_with(attributes: dict[str, Any], text: str) -> MetricsData:
    """Return metrics with the attributes and the text in every place for them."""
    points = [NumberDataPoint(attributes, 1, 2, 3, [Exemplar(attributes, 1, 2, 3, 4)])]
    metric = Metric("m", text, "1", Sum(points, AggregationTemporality.CUMULATIVE, True))
    return MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(SCOPE, [metric], "")], "")])


def carried(entry: Planted | NearMiss) -> tuple[dict[str, Any], str]:
    return {entry.key or "x": entry.value}, entry.value if isinstance(entry.value, str) and not entry.key else "text"


@pytest.mark.parametrize("entry", PLANTED, ids=lambda entry: entry.name)
def test_planted_secret_is_in_no_byte_of_a_request(entry: Planted) -> None:
    """A secret is in no byte of spans, log records and metrics, wherever it was.

    Each one is counted.
    """
    attributes, text = carried(entry)
    for _ in range(2):
        before = sum(redactor().hidden.values())
        bodies = [
            encode_spans(spans_with(attributes, text)).body,
            encode_logs(logs_with(attributes, text)).body,
            encode_metrics(metrics_with(attributes, text)).body,
        ]
        assert not [body for body in bodies if entry.secret.encode() in body]
        assert sum(redactor().hidden.values()) >= before + 8


@pytest.mark.parametrize("entry", NEAR_MISSES, ids=lambda entry: entry.name)
def test_near_miss_is_encoded_as_upstream_encodes_it(entry: NearMiss) -> None:
    """A value that only resembles a secret arrives unchanged, and nothing is counted."""
    attributes, text = carried(entry)
    cases: list[tuple[Callable[[Any], Any], Callable[[Any], Message], Any]] = [
        (encode_spans, upstream_spans, spans_with(attributes, text)),
        (encode_logs, upstream_logs, logs_with(attributes, text)),
        (encode_metrics, upstream_metrics, metrics_with(attributes, text)),
    ]
    for ours, theirs, items in cases:
        expected = theirs(items)
        assert type(expected).FromString(ours(items).body) == expected
    assert redactor().hidden == {}


def test_item_is_not_changed_by_redaction() -> None:
    """Other processors see the item as the application made it, with its secrets."""
    item = span(SECRET, attributes={"password": CANARY, "list": [{"token": CANARY}]})
    record = log({"password": CANARY, "list": [SECRET]})
    assert CANARY.encode() not in encode_spans([item]).body + encode_logs([record]).body
    assert (item.name, dict(item.attributes or {})) == (SECRET, {"password": CANARY, "list": [{"token": CANARY}]})
    assert record.log_record.body == {"password": CANARY, "list": [SECRET]}


def test_mask_replaces_value_mapping_and_list_elements() -> None:
    """A mask replaces a value, or the whole mapping of a secret key; lists keep their length."""
    given = {
        "token": {"a": 1},
        "pin": 1234,
        "api.secret": 1.5,
        "x": [[b"authorization", b"Bearer x"], ["name", "bob"]],
        "password": ["a", ["b", 2.5]],
        "client_secret": b"\xff",
    }
    message = logs_of(encode_logs([log(given)]))[0]
    found = {pair.key: pair.value for pair in message.body.kvlist_value.values}
    assert [found[key].string_value for key in ("token", "pin", "api.secret", "client_secret")] == [MASK] * 4
    authorization, name = (pair.array_value.values for pair in found["x"].array_value.values)
    assert (authorization[0].bytes_value, authorization[1].string_value) == (b"authorization", MASK)
    assert [part.string_value for part in name] == ["name", "bob"]
    first, second = found["password"].array_value.values
    assert [first.string_value, *(part.string_value for part in second.array_value.values)] == [MASK] * 3


def test_secret_in_bytes_that_are_not_utf8_is_redacted() -> None:
    """A secret is masked among bytes that are not UTF-8 too, and those stay."""
    message = spans_of(encode_spans([span(attributes={"x": b"\xff\xfe " + SECRET.encode() + b" \xe4"})]))[0]
    assert value_of(message).bytes_value == b"\xff\xfe password=" + MASK.encode() + b" \xe4"


def test_secret_used_as_key_is_redacted() -> None:
    """A token that is used as a key is masked."""
    assert GITHUB.encode() not in encode_spans([span(attributes={GITHUB: 1}), span(attributes={GITHUB: 1})]).body
    assert GITHUB.encode() not in encode_logs([log({"seen": {GITHUB: True}})]).body


def test_trace_state_with_secret_is_redacted() -> None:
    """The trace state comes from other systems, and may hold their secrets."""
    context = SpanContext(1, 2, False, TraceFlags(1), TraceState([("vendor", GITHUB), ("other", "a1")]))
    assert spans_of(encode_spans([span(context=context)]))[0].trace_state == f"vendor={MASK},other=a1"


@pytest.mark.parametrize("limit", [65_536, 262_144])
def test_secret_at_the_limit_of_a_text_is_redacted_whole(limit: int) -> None:
    """If the limit of a text cuts a secret, not even the beginning of the secret is sent."""
    for before in (limit - 50, limit - 10, limit - 5, limit - 1, limit + 1000, limit + 1010):
        text = "a " * (before // 2) + GITHUB + " b" * 2000
        bodies = [encode_logs([log(text)]).body, encode_spans([span(attributes={"x": text, "y": text.encode()})]).body]
        assert not [body for body in bodies if GITHUB[:5].encode() in body]


def test_service_instance_id_is_not_redacted() -> None:
    """Attributes that identify the process stay, also with a number like that of a card."""
    resource = Resource({"service.name": SECRET, "host.id": "4111111111111111", "service.instance.id": GITHUB})
    body = encode_spans([span(resource=resource)]).body
    assert all(value.encode() in body for value in (SECRET, "4111111111111111", GITHUB))


def test_value_whose_redaction_fails_is_masked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], swallowed: list[str]
) -> None:
    """If redaction fails the value is masked, every item arrives, and one line reports it."""

    def fail(_: str) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(redactor()._finder, "find", fail)
    attributes = {"good": True, "x": "a text that nobody has seen before"}
    message = spans_of(encode_spans([span(attributes=attributes)]))[0]
    assert (value_of(message).string_value, value_of(message, "good").bool_value) == (MASK, True)
    assert redactor().hidden == {"failure": 1}
    assert "broken" in capfd.readouterr().err
    swallowed.clear()


def test_redactions_are_counted_by_kind_and_reset_after_fork() -> None:
    """Every collection reports the redactions so far, by kind; a forked child starts from zero."""
    reader = InMemoryMetricReader()
    report_hidden(MeterProvider([reader]).get_meter("test"))
    assert reader.get_metrics_data() is None
    encode_spans([span(attributes={"password": CANARY, "a": GITHUB}), span(attributes={"password": CANARY})])
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == schema.REDACTION_HIDDEN.name
    points = {str((point.attributes or {})[schema.REDACTION_KIND.name]): point for point in metric.data.data_points}
    values = {kind: point.value for kind, point in points.items() if isinstance(point, NumberDataPoint)}
    assert values == {"key": 2, "token": 1}
    reset_after_fork()
    assert redactor().hidden == {}
