"""Records that repeat themselves are folded where that is asked for; what was folded is counted and nothing else is lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro import schema
from otel_distro.export import lifecycle
from otel_distro.instrumentation._logging import deduplicate
from otel_distro.instrumentation._logging.deduplicate import Folding
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry

Sent = list[tuple[str, int]]


@pytest.fixture
def logger(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """A logger of a process that sends two equal records a window."""
    monkeypatch.setenv("OTEL_DISTRO_LOG_DEDUP_LIMIT", "2")
    LogRecordsInstrumentor().instrument()
    made = logging.getLogger("made.folding")
    made.addHandler(logging.NullHandler())
    made.propagate = False
    yield made
    LogRecordsInstrumentor().uninstrument()
    made.propagate = True
    made.handlers.clear()


def told(telemetry: Telemetry) -> Sent:
    """Return what was exported: text, and how many were folded into it."""
    records = [found.log_record for found in telemetry.logs()]
    return [(str(each.body), int(str((each.attributes or {}).get(schema.LOG_DUPLICATES.name, 0)))) for each in records]


def folding(most: int, window: float) -> tuple[Folding, list[float], Sent]:
    """Return a folding, the hands of its clock, and what it sends."""
    now, sent = [0.0], []

    def send(arguments: Any, context: object) -> None:
        sent.append((arguments[4], arguments[-1].get(schema.LOG_DUPLICATES.name, 0)))

    return Folding(most, window, send, lambda: now[0]), now, sent


def record(text: str) -> Any:
    """Return what is sent of a record."""
    return (None, 0, 0, "", text, None, {})


def test_first_and_last_of_a_window_are_sent() -> None:
    """Of seven the first two are sent, and the seventh with the number of those between."""
    fold, now, sent = folding(2, 10)
    for number in range(7):
        fold.take("kind", record(str(number)))
    assert sent == [("0", 0), ("1", 0)]
    now[0] = 10
    fold.release()
    assert sent == [("0", 0), ("1", 0), ("6", 4)]
    assert fold.folded == 4


def test_next_record_after_a_window_sends_what_was_held() -> None:
    """What was held back goes out before any later record, and the count begins anew."""
    fold, now, sent = folding(1, 10)
    for number in range(3):
        fold.take("kind", record(str(number)))
    now[0] = 11
    fold.take("other", record("x"))
    fold.take("kind", record("3"))
    assert sent == [("0", 0), ("2", 1), ("x", 0), ("3", 0)]


def test_sent_and_folded_are_all() -> None:
    """Whatever the kinds and the times, what was sent and what was folded add up to what was logged."""
    fold, now, sent = folding(3, 5)
    for number in range(500):
        now[0] += 0.1
        fold.take(number % 7, record(str(number)))
    fold.release(everything=True)
    assert len(sent) + fold.folded == 500
    assert sum(repeats for _, repeats in sent) == fold.folded


def test_more_kinds_than_can_be_told_apart_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: kinds beyond the bound are never folded."""
    monkeypatch.setattr(deduplicate, "_MOST_KINDS", 2)
    fold, _, sent = folding(1, 5)
    for number in range(9):
        fold.take(number % 3, record(str(number)))
    assert [text for text, _ in sent] == ["0", "1", "2", "5", "8"]


def test_what_is_equal(logger: logging.Logger, telemetry: Telemetry) -> None:
    """Records of one logger, level and template are; another template, level, logger or class of exception is not."""
    other = logging.getLogger("made.folding.other")
    for number in range(4):
        logger.error("failed %d", number)
        other.error("failed %d", number)
        logger.warning("failed %d", number)
        logger.error("lost %d", number)
        try:
            raise (ValueError, KeyError)[number % 2]("x")
        except (ValueError, KeyError):
            logger.exception("failed %d", number)
    assert len(told(telemetry)) == 4 * 2 + 4
    assert not any(repeats for _, repeats in told(telemetry))


def test_end_of_the_process(logger: logging.Logger, telemetry: Telemetry) -> None:
    """At the end what is held back is sent, in the trace it was logged in, and the counter says what was folded."""
    with trace.get_tracer("made").start_as_current_span("work") as span:
        for number in range(5):
            logger.warning("again %d", number)
    assert told(telemetry) == [("again 0", 0), ("again 1", 0)]
    for callback in lifecycle.before_end:
        callback()
    assert told(telemetry)[2:] == [("again 4", 2)]
    assert telemetry.logs()[-1].log_record.trace_id == span.get_span_context().trace_id
    assert [point.value for point in telemetry.metric(schema.LOG_DEDUPLICATED.name)] == [2]


def test_off_by_default(telemetry: Telemetry) -> None:
    """Without the setting nothing is folded."""
    LogRecordsInstrumentor().instrument()
    try:
        for _ in range(50):
            logging.getLogger("made.folding").error("the same")
        assert deduplicate.active is None
    finally:
        LogRecordsInstrumentor().uninstrument()
    assert told(telemetry) == [("the same", 0)] * 50
