"""Measure the encoder beside upstream's, in one process: ``python tests/bench/encode.py [rounds]``.

Prints CPU time per item in microseconds, best and median of the rounds (default 15), and upstream's median over ours.
A batch is 512 items, as the pipeline makes them. With unique values every text differs from all before, and no batch is
encoded twice: nothing that is remembered helps.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as upstream_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as upstream_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as upstream_spans
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

from otel_distro.export.encode.request import encode_logs, encode_metrics, encode_spans

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 512
RESOURCE = Resource.create({"service.name": "bench", "service.version": "1.2.3", "deployment.environment.name": "test"})


class Spans(SpanProcessor):
    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class Logs(LogRecordProcessor):
    def __init__(self) -> None:
        self.emitted: list[ReadableLogRecord] = []

    def on_emit(self, log_record: Any) -> None:
        self.emitted.append(
            ReadableLogRecord(
                log_record.log_record, log_record.resource, log_record.instrumentation_scope, log_record.limits
            )
        )

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def spans(*, unique: bool) -> list[ReadableSpan]:
    """Requests with nine calls below each; four attributes."""
    collected = Spans()
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(collected)
    server, client = provider.get_tracer("server", "1.0"), provider.get_tracer("client", "1.0")
    for i in range(BATCH // 10 + 1):
        with server.start_as_current_span(name("GET /orders", unique), kind=SpanKind.SERVER, attributes=http(unique)):
            for j in range(9):
                with client.start_as_current_span(
                    name("SELECT", unique), kind=SpanKind.CLIENT, attributes=sql(i * 9 + j, unique)
                ):
                    pass
    return collected.ended[:BATCH]


def name(text: str, unique: bool) -> str:
    return f"{text} {uuid.uuid4().hex}" if unique else text


def http(unique: bool) -> dict[str, Any]:
    return {
        "http.request.method": name("GET", unique),
        "url.path": name("/orders", unique),
        "http.response.status_code": time.time_ns() % 1_000_000 if unique else 200,
        "server.address": name("shop", unique),
    }


def sql(number: int, unique: bool) -> dict[str, Any]:
    return {
        "db.system.name": name("postgresql", unique),
        "db.query.text": name("SELECT * FROM orders WHERE id = ?", unique),
        "db.response.returned_rows": time.time_ns() % 1_000_000 if unique else number % 20,
        "server.address": name("db", unique),
    }


def errors() -> list[ReadableSpan]:
    """Spans that record an exception."""
    collected = Spans()
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(collected)
    tracer = provider.get_tracer("server", "1.0")
    for _ in range(BATCH):
        with suppress(ValueError), tracer.start_as_current_span("GET /orders", attributes=http(unique=False)):
            int("no such order")
    return collected.ended


def logs(*, unique: bool) -> list[ReadableLogRecord]:
    collected = Logs()
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(collected)
    logger = provider.get_logger("shop.orders")
    tracer = TracerProvider(resource=RESOURCE).get_tracer("server")
    with tracer.start_as_current_span("GET /orders"):
        for _ in range(BATCH):
            logger.emit(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=f"order {uuid.uuid4()} shipped",
                attributes={
                    "code.file.path": "/srv/shop/orders.py",
                    "code.function.name": name("ship", unique),
                    "code.line.number": time.time_ns() % 1_000_000 if unique else 42,
                    "thread.name": name("MainThread", unique),
                },
            )
    return collected.emitted


def metrics() -> Any:
    """Half counters, half histograms of eleven buckets, as many points as a batch of the others has items."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], resource=RESOURCE).get_meter("shop")
    for i in range(BATCH // 2):
        meter.create_counter("shop.orders", "1").add(
            i, {"http.route": f"/orders/{i % 20}", "shop.country": f"c{i // 20}"}
        )
        meter.create_histogram("shop.delay", "s").record(
            i, {"http.route": f"/orders/{i % 20}", "shop.country": f"c{i // 20}"}
        )
    return reader.get_metrics_data()


def measure(
    title: str, make: Callable[[], Any], ours: Callable[[Any], Any], theirs: Callable[[Any], Any], rounds: int
) -> None:
    """Print one line. Batches are new for each round and encoder, both run in turns."""
    taken: dict[Callable[[Any], Any], list[float]] = {ours: [], theirs: []}
    for _, encode in itertools.product(range(rounds), (ours, theirs)):
        batch = make()
        start = time.thread_time()
        encoded = encode(batch)
        if encode is theirs:
            encoded.SerializeToString()
        taken[encode].append((time.thread_time() - start) / BATCH * 1e6)
    best, median = min(taken[ours]), statistics.median(taken[ours])
    other = statistics.median(taken[theirs])
    print(
        f"{title:<28} ours {best:6.2f} best {median:6.2f} median   upstream {min(taken[theirs]):6.2f} {other:6.2f}   {other / median:5.1f}x"
    )


def main() -> None:
    """Print a line for each kind of batch."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    measure("spans, repeating values", lambda: spans(unique=False), encode_spans, upstream_spans, rounds)
    measure("spans, unique values", lambda: spans(unique=True), encode_spans, upstream_spans, rounds)
    measure("spans with an exception", errors, encode_spans, upstream_spans, rounds)
    measure("logs, unique bodies", lambda: logs(unique=False), encode_logs, upstream_logs, rounds)
    measure("logs, all unique", lambda: logs(unique=True), encode_logs, upstream_logs, rounds)
    measure("metric points", metrics, encode_metrics, upstream_metrics, rounds)


if __name__ == "__main__":
    main()
