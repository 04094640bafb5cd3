"""A usual record takes fewer steps to the queue, and arrives as if it took all of them."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_distro._otel import sdk
from otel_distro._otel.global_providers import replace_providers
from otel_distro.export.processors import QueueLogRecordProcessor
from otel_distro.instrumentation._logging import deduplicate, emit
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.export.log_entry import LogEntry
    from otel_distro.export.pipeline import Pipeline
    from otel_distro.testing import Telemetry


class Queue:
    """Takes the place of the pipeline: keeps what is put."""

    def __init__(self) -> None:
        self.items: list[LogEntry] = []
        self.all_steps = 0
        """Number of records that did not take the short way."""

    def put(self, signal: str, item: Any) -> None:
        self.items.append(item)


@pytest.fixture
def queue(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """The queue of log records of an instrumented process."""
    found = Queue()
    logs = sdk.LoggerProvider(Resource.get_empty(), shutdown_on_exit=False)
    logs.add_log_record_processor(QueueLogRecordProcessor(cast("Pipeline", found)))
    restore = replace_providers(
        TracerProvider(shutdown_on_exit=False), cast("Any", sdk.global_providers()[1]), cast("Any", logs)
    )
    LogRecordsInstrumentor().instrument()
    monkeypatch.setattr(emit, "_locations", {})
    send_all_steps = emit.emit

    def counted(*args: Any) -> None:
        found.all_steps += 1
        send_all_steps(*args)

    monkeypatch.setattr(emit, "emit", counted)
    yield found
    LogRecordsInstrumentor().uninstrument()
    restore()


class Talkative:
    """Logs while its text is made."""

    def __str__(self) -> str:
        logging.getLogger("made.shop").error("within")
        return "talk"


class Hostile:
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


def in_span(log: Callable[..., None]) -> None:
    with trace.get_tracer("made").start_as_current_span("work"):
        log(logging.INFO, "in a span")


def in_remote_span(log: Callable[..., None]) -> None:
    span = NonRecordingSpan(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(0)))
    token = context.attach(trace.set_span_in_context(span))
    log(logging.INFO, "after a remote span")
    context.detach(token)


RECORDS: dict[str, Callable[[Callable[..., None]], None]] = {
    "plain": lambda log: log(logging.INFO, "sold %d of %s", 3, "tea"),
    "level of the application": lambda log: log(27, "odd"),
    "error": lambda log: log(logging.ERROR, "failed"),
    "no text": lambda log: log(logging.INFO, {"a": [1]}),
    "text with colours": lambda log: log(logging.INFO, "\x1b[31mred"),
    "lone surrogate": lambda log: log(logging.INFO, "a\ud800b"),
    "span": in_span,
    "remote span": in_remote_span,
    "attributes": lambda log: log(
        logging.INFO, "x", extra={"user": "ann", "n": 1, "yes": True, "all": [1, {"b": b"c"}]}
    ),
    "attribute of a location": lambda log: log(logging.INFO, "x", extra={"code.line.number": 1, "thread.name": "t"}),
    "attribute without a value": lambda log: log(logging.INFO, "x", extra={"user": None}),
}


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger with a handler that formats."""
    handler = logging.StreamHandler(open("/dev/null", "w", encoding="utf-8", errors="replace"))  # noqa: SIM115
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    made = logging.getLogger("made.shop")
    made.propagate, made.handlers, made.level = False, [handler], 1
    yield made
    made.propagate, made.handlers, made.level = True, [], logging.NOTSET
    handler.stream.close()


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_later_record_of_a_place_equals_the_first(
    queue: Queue, logger: logging.Logger, record: Callable[[Callable[..., None]], None]
) -> None:
    """The first one takes all steps, which makes the location known; all fields are the same."""
    for _ in range(3):
        record(logger.log)
    first, *later = queue.items
    assert len(later) == 2
    for each in later:
        # Times differ, and each record in a span has one of its own.
        differing: dict[str, Any] = {"timestamp": 0, "observed_timestamp": 0, "trace_id": 0, "span_id": 0}
        assert each._replace(**differing) == first._replace(**differing)
        assert (bool(each.trace_id), bool(each.span_id)) == (bool(first.trace_id), bool(first.span_id))
        assert each.attributes == first.attributes
        assert list(map(type, each)) == list(map(type, first))


def test_usual_record_takes_the_short_way(queue: Queue, logger: logging.Logger) -> None:
    """With attributes of its own, and with a message that no handler has made."""
    logger.handlers = [logging.NullHandler()]
    for number in range(4):
        logger.info("sold %d", number, extra={"user": "ann"})
    assert queue.all_steps == 1
    assert [(item.body, item.extras) for item in queue.items] == [(f"sold {n}", {"user": "ann"}) for n in range(4)]
    now = [item.timestamp for item in queue.items]
    assert now == sorted(now)
    assert all(item.observed_timestamp >= item.timestamp for item in queue.items)


def test_record_of_an_exception_takes_all_steps(queue: Queue, logger: logging.Logger) -> None:
    """Also one without `exc_info` that is logged while an exception is handled, from WARNING on."""
    for _ in range(3):
        try:
            int("tea")
        except ValueError:
            logger.exception("failed")
            logger.warning("sorry")
            logger.info("again")
    assert queue.all_steps == 7
    assert [item.extras.get("exception.type") for item in queue.items] == ["ValueError", None, None] * 3


def test_record_of_another_thread_is_a_duplicate(queue: Queue, logger: logging.Logger) -> None:
    """A record that a listener handles again is exported where it was made."""
    kept: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        kept.append(record)
        return True

    def log() -> None:
        for _ in range(3):
            logger.info("x")

    logger.addFilter(keep)
    thread = threading.Thread(target=log)
    thread.start()
    thread.join()
    logger.filters = []
    for record in kept:
        logger.handle(record)
    assert [item.body for item in queue.items] == ["x"] * 3
    assert len({item.attributes["thread.id"] for item in queue.items}) == 1


def test_text_that_logs_is_exported_once(queue: Queue, logger: logging.Logger) -> None:
    """Records that `__str__` logs meanwhile are left out: they would recurse without end."""
    logger.handlers = [logging.NullHandler()]
    for _ in range(3):
        logger.info("say %s", Talkative())
    assert [item.body for item in queue.items] == ["say talk"] * 3


def test_bad_arguments_keep_the_template(queue: Queue, logger: logging.Logger) -> None:
    """A message that cannot be made costs its arguments only."""
    logger.handlers = [logging.NullHandler()]
    for _ in range(3):
        logger.info("say %s", Hostile())
    assert [item.body for item in queue.items] == ["say %s"] * 3


def test_deduplicated_record_takes_all_steps(
    queue: Queue, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deduplication that is on counts every record."""
    for _ in range(2):
        logger.info("x")
    monkeypatch.setattr(deduplicate, "active", deduplicate.Deduplicator(1, 60, emit.send))
    for _ in range(3):
        logger.info("x")
    assert len(queue.items) == 3
    assert deduplicate.active is not None
    assert deduplicate.active.suppressed == 1


def test_level_below_the_threshold_is_not_exported(queue: Queue, logger: logging.Logger) -> None:
    """A threshold that changes holds for a known place, too."""
    logger.info("x")
    logger.info("x")
    source = emit.source_of("made.shop", logging.INFO)
    assert source is not None
    source.threshold = logging.WARNING
    logger.info("x")
    emit.clear_cache()
    logger.info("x")
    assert len(queue.items) == 3


def test_record_of_another_process_is_a_duplicate(queue: Queue, logger: logging.Logger) -> None:
    """Also from a place that is known: the process that made the record exports it."""
    record = logger.makeRecord("made.shop", logging.INFO, "/app/shop.py", 7, "x", (), None, "sell")
    logger.handle(record)
    logger.handle(record)
    record.process, record.processName = (record.process or 0) + 1, "Worker-1"
    logger.handle(record)
    assert len(queue.items) == 2
