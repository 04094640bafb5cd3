"""Puts the export path together from a checked environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from otel_distro._otel import sdk
from otel_distro._otel.cardinality import limit_cardinality
from otel_distro._otel.components import metric_preferences
from otel_distro._otel.metrics import MetricSource
from otel_distro.export.encode.redact import redactor, report_hidden
from otel_distro.export.encode.request import encode_logs, encode_metrics, encode_spans, prepare_spans
from otel_distro.export.metrics.checkpoint import CounterCheckpoint
from otel_distro.export.metrics.collection import Collection
from otel_distro.export.pipeline import Pipeline
from otel_distro.export.processors import QueueMetricReader
from otel_distro.export.self_metrics import ExporterMetrics
from otel_distro.export.send.delivery import EndpointHealth, SpoolExporter
from otel_distro.export.send.endpoint import OtlpEndpoint, target
from otel_distro.export.send.http_sender import Sender
from otel_distro.export.signal_queue import SignalQueue
from otel_distro.export.spool.spool import Spool, open_spool, spool_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import Meter

    from otel_distro.export.encode.request import Encoded
    from otel_distro.export.send.http_sender import Transport

_ENCODERS: Mapping[str, Callable[[Any], Encoded]] = {
    "traces": encode_spans,
    "metrics": encode_metrics,
    "logs": encode_logs,
}
_NOT_TENANT = ("content-type", "user-agent")
_CREDENTIALS = ("auth", "token", "key", "secret", "cookie", "password")
_PREFIXES = {"traces": "BSP", "logs": "BLRP"}


def targets(environ: Mapping[str, str] = os.environ) -> dict[str, OtlpEndpoint]:
    """Return the target of each signal."""
    return {signal: target(signal, environ) for signal in sdk.SIGNALS}


def spool_of(found: Mapping[str, OtlpEndpoint], service: str, environ: Mapping[str, str] = os.environ) -> Spool:
    """Return the spool that processes with these targets share.

    Headers that tell tenants apart belong to the destination, credentials do not: they change, and the backlog must not be
    stranded by that.
    """
    parts = [destination.url for destination in found.values()]
    for signal, destination in found.items():
        parts.extend(
            f"{signal} {name}={value}"
            for name, value in destination.headers.items()
            if name not in _NOT_TENANT and not any(word in name for word in _CREDENTIALS)
        )
    return open_spool(environ, spool_key(*parts), service, sorted({t.origin for t in found.values()}))


def deliveries(found: Mapping[str, OtlpEndpoint], spool: Spool) -> dict[str, SpoolExporter]:
    """Return a delivery for each signal; signals of one origin share what is known of it."""
    links: dict[str, EndpointHealth] = {}
    made: dict[str, SpoolExporter] = {}
    for signal, destination in found.items():
        link = links.setdefault(destination.origin, EndpointHealth(destination.origin, spool))
        sender = _grpc_sender(destination, signal) if destination.grpc else Sender(destination)
        made[signal] = SpoolExporter(signal, sender, spool, link, ExporterMetrics(signal, None, destination.url, 0))
    return made


def _grpc_sender(destination: OtlpEndpoint, signal: str) -> Transport:
    from otel_distro.export.send.grpc_sender import GrpcSender

    return GrpcSender(destination, signal)


def assemble(signals: Iterable[str], service: str) -> tuple[Pipeline, QueueMetricReader | None]:
    """Return the pipeline of ``signals`` and, where metrics are among them, the reader that feeds it.

    Nothing of it reports on itself before :func:`report_to` is called: the provider of metrics stands on the reader.
    """
    # Now, not at the first item: a process that has run out of descriptors can import nothing any more.
    redactor()
    chosen = set(signals)
    found = targets()
    spool = spool_of(found, service)
    queues = {signal: _lane(signal, spool) for signal in sdk.SIGNALS if signal in chosen}
    reader = collection = None
    if "metrics" in queues:
        reader = QueueMetricReader(queues["metrics"], **metric_preferences(), **limit_cardinality())
        collection = Collection(
            MetricSource(reader), queues["metrics"].spool, encode_metrics, CounterCheckpoint(spool.store)
        )
    pipeline = Pipeline(
        queues,
        deliveries(found, spool),
        spool,
        delay=min(number(f"OTEL_{prefix}_SCHEDULE_DELAY", 1000) for prefix in _PREFIXES.values()) / 1000,
        interval=number("OTEL_METRIC_EXPORT_INTERVAL", 15000) / 1000,
        collection=collection,
    )
    if reader is not None:
        reader.flush = pipeline.flush
    return pipeline, reader


def report_to(pipeline: Pipeline, meter: Meter) -> None:
    """Let the pipeline report on itself through ``meter``."""
    for signal, delivery in pipeline.deliveries.items():
        queue = pipeline.queues.get(signal)
        endpoint_of = delivery.sender.target
        capacity = queue.capacity if queue is not None else 0
        metrics = ExporterMetrics(signal, meter, endpoint_of.url, capacity, grpc=endpoint_of.grpc)
        delivery.report_to(metrics)
        if queue is not None:
            queue.report_to(metrics)
    report_hidden(meter)


def _lane(signal: str, spool: Spool) -> SignalQueue:
    prefix = _PREFIXES.get(signal, "")
    return SignalQueue(
        signal,
        _ENCODERS[signal],
        spool,
        ExporterMetrics(signal, None, "", 0),
        capacity=int(number(f"OTEL_{prefix}_MAX_QUEUE_SIZE", 2048)) if prefix else 1,
        batch=int(number(f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE", 512)) if prefix else 1,
        # A log record costs half as much again where it is encoded between the lines of the application, not with others.
        prepare=prepare_spans if signal == "traces" else None,
    )


def number(name: str, default: float) -> float:
    """Read a number that the check of the environment has passed; a later change of it falls back to the default."""
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        return default
    return value if 0 < value < float("inf") else default
