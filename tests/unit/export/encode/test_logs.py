"""Records of logging libraries are encoded alike on the fast path and through the SDK."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_distro._otel import sdk
from otel_distro._otel.global_providers import replace_providers
from otel_distro._otel.sdk import LogRecordProcessor
from otel_distro.export.encode.request import encode_logs
from otel_distro.export.log_entry import LogEntry
from otel_distro.export.processors import QueueLogRecordProcessor
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.release import ANY_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.export.pipeline import Pipeline
    from otel_distro.testing import Telemetry


class Queue:
    """Takes the place of the pipeline: keeps what is put."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def put(self, signal: str, item: Any) -> None:
        self.items.append(item)


class Other(LogRecordProcessor):
    """A processor of the application, which sees every record and may change it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_emit(self, log_record: Any) -> None:
        self.seen.append(log_record)
        log_record.log_record.attributes["added"] = True

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def log_all() -> None:
    """Log records of all kinds."""
    logger = logging.getLogger("made.ways")
    logger.setLevel(1)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.info("plain")
    logger.log(7, "%s", "x" * 300)
    logger.error(
        "extras",
        extra={
            "n": 2**70,
            "list": [1, [2, {"a": None}]] if ANY_VALUES else [1, 2],
            "thread.id": "mine",
            "bad": "\ud800",
        },
    )
    logger.warning("password=hunter2secret", extra={"api_key": "abcdefgh12345678", "url": "http://u:p4ss@h/"})
    with trace.get_tracer("made").start_as_current_span("work"):
        try:
            int("tea")
        except ValueError:
            logger.exception("failed")
    early = logging.makeLogRecord(
        {"name": "made.ways", "msg": "early", "created": -5.0, "levelno": 40, "levelname": "E"}
    )
    logger.handle(early)


def messages(items: list[Any]) -> list[Any]:
    """Return the decoded records, without what depends on the clock and the order of attributes."""
    request = ExportLogsServiceRequest.FromString(encode_logs(items).body)
    found = [record for of in request.resource_logs for scope in of.scope_logs for record in scope.log_records]
    for record in found:
        record.observed_time_unix_nano = 0
        record.time_unix_nano = min(record.time_unix_nano, 1)
        record.trace_id, record.span_id = record.trace_id[:1], record.span_id[:1]
        kept = sorted(
            (pair for pair in record.attributes if not pair.key.startswith(("code.line", "python."))),
            key=lambda pair: pair.key,
        )
        del record.attributes[:]
        record.attributes.extend(kept)
        record.trace_id, record.span_id = bytes(bool(record.trace_id)), bytes(bool(record.span_id))
    return found


def run(*processors: LogRecordProcessor) -> None:
    """Log everything with these processors."""
    provider = sdk.LoggerProvider(Resource.get_empty(), shutdown_on_exit=False)
    for processor in processors:
        provider.add_log_record_processor(processor)
    restore = replace_providers(TracerProvider(shutdown_on_exit=False), cast("Any", _meters()), provider)
    LogRecordsInstrumentor().instrument()
    try:
        log_all()
    finally:
        LogRecordsInstrumentor().uninstrument()
        restore()


def _meters() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider

    return MeterProvider(shutdown_on_exit=False)


def queue() -> tuple[Queue, QueueLogRecordProcessor]:
    """Return a processor and the queue that it puts records into."""
    kept = Queue()
    return kept, QueueLogRecordProcessor(cast("Pipeline", kept))


def test_log_entry_is_encoded_like_the_record_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path and the SDK's path, which the SDK's limits require, give the same messages."""
    short, processor = queue()
    run(processor)
    assert {type(item) for item in short.items} == {LogEntry}
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1000000")
    long, processor = queue()
    run(processor)
    assert LogEntry not in {type(item) for item in long.items}
    assert messages(short.items) == messages(long.items)
    assert b"hunter2secret" not in encode_logs(short.items).body


@pytest.mark.parametrize("ours_first", [True, False])
def test_other_processor_sees_and_changes_every_record(ours_first: bool) -> None:
    """With another processor every record takes the SDK's path, in the order of the processors."""
    kept, processor = queue()
    other = Other()
    run(*((processor, other) if ours_first else (other, processor)))
    assert len(other.seen) == len(kept.items) == 6
    changed = [dict(item.log_record.attributes or {}).get("added") for item in kept.items]
    assert changed == [True] * 6


def test_log_entry_read_as_record_has_all_attributes(telemetry: Telemetry) -> None:
    """Code that reads an entry as a record of the SDK finds all attributes."""
    short, processor = queue()
    run(processor)
    record = short.items[2].log_record
    assert record.attributes["thread.id"] == "mine"
    assert record.attributes["code.function.name"] == "log_all"
    assert record.event_name is None


def test_logger_switched_off_by_configurator_queues_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that a configurator of the SDK has disabled stays disabled."""
    kept, processor = queue()
    fields: Callable[[Any], Any] = sdk.LOGGER_FIELDS
    off = type("Off", (), {"is_enabled": False})
    monkeypatch.setattr(sdk, "LOGGER_FIELDS", lambda logger: (fields(logger)[0], off, fields(logger)[2]))
    monkeypatch.setattr(sdk.Logger, "_is_enabled", lambda _: False)
    run(processor)
    assert kept.items == []
