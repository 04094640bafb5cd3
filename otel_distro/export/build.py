"""Puts the export path together from a checked environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from otel_distro._otel import sdk
from otel_distro._otel.cardinality import limit_cardinality
from otel_distro._otel.metrics import MetricSource
from otel_distro.export.encode.redact import redactor, report_hidden
from otel_distro.export.encode.request import encode_logs, encode_metrics, encode_spans, prepare_spans
from otel_distro.export.metrics.checkpoint import LastNumbers
from otel_distro.export.metrics.collection import Collection
from otel_distro.export.pipeline import Pipeline
from otel_distro.export.processors import QueueMetricReader
from otel_distro.export.self_metrics import LaneMetrics
from otel_distro.export.send.delivery import Delivery, Link
from otel_distro.export.send.endpoint import Target, target
from otel_distro.export.send.http_sender import Sender
from otel_distro.export.signal_queue import Lane
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


def targets(environ: Mapping[str, str] = os.environ) -> dict[str, Target]:
    """Return the target of each signal."""
    return {signal: target(signal, environ) for signal in sdk.SIGNALS}


def spool_of(found: Mapping[str, Target], service: str, environ: Mapping[str, str] = os.environ) -> Spool:
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


def deliveries(found: Mapping[str, Target], spool: Spool) -> dict[str, Delivery]:
    """Return a delivery for each signal; signals of one origin share what is known of it."""
    links: dict[str, Link] = {}
    made: dict[str, Delivery] = {}
    for signal, destination in found.items():
        link = links.setdefault(destination.origin, Link(destination.origin, spool))
        sender = _grpc_sender(destination, signal) if destination.grpc else Sender(destination)
        made[signal] = Delivery(signal, sender, spool, link, LaneMetrics(signal, None, destination.url, 0))
    return made


def _grpc_sender(destination: Target, signal: str) -> Transport:
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
    lanes = {signal: _lane(signal, spool) for signal in sdk.SIGNALS if signal in chosen}
    reader = collection = None
    if "metrics" in lanes:
        limit_cardinality()
        reader = QueueMetricReader(lanes["metrics"], **sdk.metric_preferences())
        collection = Collection(MetricSource(reader), lanes["metrics"].spool, encode_metrics, LastNumbers(spool.shelf))
    pipeline = Pipeline(
        lanes,
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
        lane = pipeline.lanes.get(signal)
        way_out = delivery.sender.target
        capacity = lane.capacity if lane is not None else 0
        metrics = LaneMetrics(signal, meter, way_out.url, capacity, grpc=way_out.grpc)
        delivery.report_to(metrics)
        if lane is not None:
            lane.report_to(metrics)
    report_hidden(meter)


def _lane(signal: str, spool: Spool) -> Lane:
    prefix = _PREFIXES.get(signal, "")
    return Lane(
        signal,
        _ENCODERS[signal],
        spool,
        LaneMetrics(signal, None, "", 0),
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
