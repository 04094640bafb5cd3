"""Repeated records are deduplicated if the setting says so, counted, and nothing else is lost."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro import schema
from otel_distro._runtime import exit as process_exit
from otel_distro.instrumentation._logging import deduplicate
from otel_distro.instrumentation._logging.deduplicate import Deduplicator
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry

Sent = list[tuple[str, int]]


@pytest.fixture
def logger(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """A logger in a process that sends two equal records per window."""
    monkeypatch.setenv("OTEL_DISTRO_LOG_DEDUP_LIMIT", "2")
    LogRecordsInstrumentor().instrument()
    made = logging.getLogger("made.repeats")
    made.addHandler(logging.NullHandler())
    made.propagate = False
    yield made
    LogRecordsInstrumentor().uninstrument()
    made.propagate = True
    made.handlers.clear()


def exported(telemetry: Telemetry) -> Sent:
    """Return message and number of suppressed records of each exported record."""
    records = [found.log_record for found in telemetry.logs()]
    return [(str(each.body), int(str((each.attributes or {}).get(schema.LOG_DUPLICATES.name, 0)))) for each in records]


def deduplicator(limit: int, window: float) -> tuple[Deduplicator, list[float], Sent]:
    """Return a deduplicator, the time of its clock, and what it sends."""
    now, sent = [0.0], []

    def send(arguments: Any, context: object) -> None:
        sent.append((arguments[4], arguments[-1].get(schema.LOG_DUPLICATES.name, 0)))

    return Deduplicator(limit, window, send, lambda: now[0]), now, sent


def record(text: str) -> Any:
    """Return the arguments of a record."""
    return (None, 0, 0, "", text, None, {})


def test_first_and_last_records_of_a_window_are_sent() -> None:
    """Of seven records the first two are sent, and the seventh with the number between."""
    dedup, now, sent = deduplicator(2, 10)
    for number in range(7):
        dedup.submit("kind", record(str(number)))
    assert sent == [("0", 0), ("1", 0)]
    now[0] = 10
    dedup.release()
    assert sent == [("0", 0), ("1", 0), ("6", 4)]
    assert dedup.suppressed == 4


def test_record_after_a_window_releases_the_last_one() -> None:
    """The last record of the window is sent before any later one, and the count restarts."""
    dedup, now, sent = deduplicator(1, 10)
    for number in range(3):
        dedup.submit("kind", record(str(number)))
    now[0] = 11
    dedup.submit("other", record("x"))
    dedup.submit("kind", record("3"))
    assert sent == [("0", 0), ("2", 1), ("x", 0), ("3", 0)]


def test_sent_and_suppressed_records_add_up() -> None:
    """Records sent and suppressed add up to the records logged, for any keys and times."""
    dedup, now, sent = deduplicator(3, 5)
    for number in range(500):
        now[0] += 0.1
        dedup.submit(number % 7, record(str(number)))
    dedup.release(everything=True)
    assert len(sent) + dedup.suppressed == 500
    assert sum(repeats for _, repeats in sent) == dedup.suppressed


def test_records_beyond_the_limit_of_keys_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: records with further keys are always sent."""
    monkeypatch.setattr(deduplicate, "_MAX_KEYS", 2)
    dedup, _, sent = deduplicator(1, 5)
    for number in range(9):
        dedup.submit(number % 3, record(str(number)))
    assert [text for text, _ in sent] == ["0", "1", "2", "5", "8"]


def test_records_are_equal_by_logger_level_template_and_exception(logger: logging.Logger, telemetry: Telemetry) -> None:
    """Another template, level, logger or exception class makes another record."""
    other = logging.getLogger("made.repeats.other")
    for number in range(4):
        logger.error("failed %d", number)
        other.error("failed %d", number)
        logger.warning("failed %d", number)
        logger.error("lost %d", number)
        try:
            raise (ValueError, KeyError)[number % 2]("x")
        except (ValueError, KeyError):
            logger.exception("failed %d", number)
    assert len(exported(telemetry)) == 4 * 2 + 4
    assert not any(repeats for _, repeats in exported(telemetry))


def test_last_record_is_sent_at_process_end(logger: logging.Logger, telemetry: Telemetry) -> None:
    """It has the trace in which it was logged, and the metric counts the suppressed ones."""
    with trace.get_tracer("made").start_as_current_span("work") as span:
        for number in range(5):
            logger.warning("again %d", number)
    assert exported(telemetry) == [("again 0", 0), ("again 1", 0)]
    process_exit.run_before_end()
    assert exported(telemetry)[2:] == [("again 4", 2)]
    assert telemetry.logs()[-1].log_record.trace_id == span.get_span_context().trace_id
    assert [point.value for point in telemetry.metric(schema.LOG_DEDUPLICATED.name)] == [2]


def test_equal_records_are_all_sent_by_default(telemetry: Telemetry) -> None:
    """Without the setting there is no deduplication."""
    LogRecordsInstrumentor().instrument()
    try:
        for _ in range(50):
            logging.getLogger("made.repeats").error("the same")
        assert deduplicate.active is None
    finally:
        LogRecordsInstrumentor().uninstrument()
    assert exported(telemetry) == [("the same", 0)] * 50


def test_signal_handler_that_logs_inside_of_the_deduplicator_returns() -> None:
    """The handler of an application may run while this thread holds the deduplicator's lock."""
    dedup, _, sent = deduplicator(1, 10)

    class Interrupted:
        def __hash__(self) -> int:
            signal.raise_signal(signal.SIGUSR1)
            return 1

    before = signal.signal(signal.SIGUSR1, lambda *_: dedup.submit("handler", record("from the handler")))
    try:
        dedup.submit(Interrupted(), record("interrupted"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sent == [("from the handler", 0), ("interrupted", 0)]
