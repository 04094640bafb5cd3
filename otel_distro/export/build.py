"""Builds the export path from the checked environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from otel_distro._otel import sdk
from otel_distro._otel.cardinality import limit_cardinality
from otel_distro._otel.components import metric_preferences
from otel_distro._otel.metrics import MetricSource
from otel_distro.export.encode.redact import redactor, report_hidden
from otel_distro.export.encode.request import encode_logs, encode_metrics, encode_spans, pre_encode_spans
from otel_distro.export.metrics.checkpoint import CounterCheckpoint
from otel_distro.export.metrics.collector import MetricCollector
from otel_distro.export.pipeline import Pipeline
from otel_distro.export.processors import QueueMetricReader
from otel_distro.export.self_metrics import ExporterMetrics
from otel_distro.export.send.delivery import EndpointHealth, SpoolExporter
from otel_distro.export.send.endpoint import OtlpEndpoint, otlp_endpoint
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


def endpoints(environ: Mapping[str, str] = os.environ) -> dict[str, OtlpEndpoint]:
    """Return the endpoint of each signal."""
    return {signal: otlp_endpoint(signal, environ) for signal in sdk.SIGNALS}


def shared_spool(found: Mapping[str, OtlpEndpoint], service: str, environ: Mapping[str, str] = os.environ) -> Spool:
    """Return the spool that all processes with these endpoints share.

    Headers that distinguish tenants are part of its key. Credentials are not: they change, and the
    backlog must still be delivered then.
    """
    parts = [endpoint.url for endpoint in found.values()]
    for signal, endpoint in found.items():
        parts.extend(
            f"{signal} {name}={value}"
            for name, value in endpoint.headers.items()
            if name not in _NOT_TENANT and not any(word in name for word in _CREDENTIALS)
        )
    return open_spool(environ, spool_key(*parts), service, sorted({endpoint.origin for endpoint in found.values()}))


def spool_exporters(found: Mapping[str, OtlpEndpoint], spool: Spool) -> dict[str, SpoolExporter]:
    """Return an exporter for each signal; signals of one origin share the state of its health."""
    health: dict[str, EndpointHealth] = {}
    exporters: dict[str, SpoolExporter] = {}
    for signal, endpoint in found.items():
        shared = health.setdefault(endpoint.origin, EndpointHealth(endpoint.origin, spool))
        sender = _grpc_sender(endpoint, signal) if endpoint.grpc else Sender(endpoint)
        metrics = ExporterMetrics(signal, None, endpoint.url, 0)
        exporters[signal] = SpoolExporter(signal, sender, spool, shared, metrics)
    return exporters


def _grpc_sender(endpoint: OtlpEndpoint, signal: str) -> Transport:
    from otel_distro.export.send.grpc_sender import GrpcSender

    return GrpcSender(endpoint, signal)


def assemble(signals: Iterable[str], service: str) -> tuple[Pipeline, QueueMetricReader | None]:
    """Build the pipeline, and the metric reader that feeds it.

    Neither reports on itself before :func:`report_to` is called, because the meter provider needs
    the reader.

    Args:
        signals: The signals to export.
        service: The name of the service.

    Returns:
        The pipeline; and the reader, or None if metrics are not exported.
    """
    # Imported now, not for the first item: a process without free descriptors cannot import.
    redactor()
    chosen = set(signals)
    found = endpoints()
    spool = shared_spool(found, service)
    queues = {signal: _queue(signal, spool) for signal in sdk.SIGNALS if signal in chosen}
    reader = collector = None
    if "metrics" in queues:

        def flush(timeout: float) -> bool:
            # Built below: the pipeline needs the collector, and that needs this reader.
            return pipeline.flush(timeout)

        reader = QueueMetricReader(flush, **metric_preferences(), **limit_cardinality())
        collector = MetricCollector(
            MetricSource(reader),
            queues["metrics"].spool,
            encode_metrics,
            CounterCheckpoint(spool.store),
            number("OTEL_METRIC_EXPORT_INTERVAL", 15000) / 1000,
        )
    pipeline = Pipeline(
        queues,
        spool_exporters(found, spool),
        spool,
        delay=min(number(f"OTEL_{prefix}_SCHEDULE_DELAY", 1000) for prefix in _PREFIXES.values()) / 1000,
        collector=collector,
    )
    return pipeline, reader


def report_to(pipeline: Pipeline, meter: Meter) -> None:
    """Have the pipeline report on itself through ``meter``."""
    for signal, exporter in pipeline.exporters.items():
        queue = pipeline.queues.get(signal)
        endpoint = exporter.sender.endpoint
        capacity = queue.capacity if queue is not None else 0
        metrics = ExporterMetrics(signal, meter, endpoint.url, capacity, grpc=endpoint.grpc)
        exporter.report_to(metrics)
        if queue is not None:
            queue.report_to(metrics)
    report_hidden(meter)


def _queue(signal: str, spool: Spool) -> SignalQueue:
    prefix = _PREFIXES.get(signal, "")
    return SignalQueue(
        signal,
        _ENCODERS[signal],
        spool,
        ExporterMetrics(signal, None, "", 0),
        capacity=int(number(f"OTEL_{prefix}_MAX_QUEUE_SIZE", 2048)) if prefix else 1,
        batch=int(number(f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE", 512)) if prefix else 1,
        # Not log records: encoding them one by one instead of in a batch costs half as much again.
        pre_encode=pre_encode_spans if signal == "traces" else None,
    )


def number(name: str, default: float) -> float:
    """Read a number from a checked variable; the default if it has become invalid since."""
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        return default
    return value if 0 < value < float("inf") else default
