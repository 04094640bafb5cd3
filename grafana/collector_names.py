"""Names that neither this distribution nor an instrumentation emits: they arise on the way.

``target_info`` and the labels ``job`` and ``instance`` come from Prometheus' translation of OTLP
resources (https://prometheus.io/docs/guides/opentelemetry/), the span metrics from the Collector
(``collector/config.yaml``), the level of a log line from Loki, and the Collector's own metrics from
its metrics endpoint. They have the types of :mod:`otel_distro.schema`, so that one check covers all
names of a dashboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otel_distro.schema import (
    DEPLOYMENT_ENVIRONMENT,
    SERVICE_NAME,
    SERVICE_NAMESPACE,
    Attribute,
    Metric,
)

JOB = Attribute("job", "Namespace and name of the service, joined by a slash.")
INSTANCE = Attribute("instance", "The process: its `service.instance.id`.")
HOST_NAME = Attribute("host.name", "Host the process runs on.")

SPAN_NAME = Attribute("span.name", "Name of the span.")
SPAN_KIND = Attribute(
    "span.kind",
    "Role of the span.",
    ("SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_INTERNAL", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"),
)
STATUS_CODE = Attribute(
    "status.code", "Status of the span.", ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")
)
DETECTED_LEVEL = Attribute(
    "detected_level",
    "Level of a log line, as Loki reads it from the severity.",
    ("trace", "debug", "info", "warn", "error", "critical", "fatal", "unknown"),
)

EVENT_NAME = Attribute("event.name", "Name of an event, which the Collector adds for Loki.")
SCOPE_NAME = Attribute("scope.name", "Logger that wrote the line.")

PROMOTED = (SERVICE_NAME, SERVICE_NAMESPACE, DEPLOYMENT_ENVIRONMENT)
"""Resource attributes that are labels of every series (Prometheus) and of every stream (Loki)."""

TARGET_INFO = Metric(
    "target.info", "gauge", "", "One series for each process, with its resource.", (HOST_NAME,), upstream=True
)
SPAN_CALLS = Metric(
    "traces.spanmetrics.calls",
    "counter",
    "",
    "Spans, counted before any sampling.",
    (SPAN_NAME, SPAN_KIND, STATUS_CODE),
    upstream=True,
)
SPAN_DURATION = Metric(
    "traces.spanmetrics.latency",
    "histogram",
    "",
    "Duration of spans in seconds, measured before any sampling.",
    (SPAN_NAME, SPAN_KIND, STATUS_CODE),
    upstream=True,
)
DERIVED = (SPAN_CALLS, SPAN_DURATION)
"""Metrics that aggregate many processes: they have no ``instance``."""


@dataclass(frozen=True)
class Scraped(Metric):
    """A metric that Prometheus scrapes from the Collector, whose names have no suffixes."""

    def series(self, part: Literal["", "bucket", "count", "sum"] = "") -> str:
        """Return the name as the Collector writes it."""
        return self.name


EXPORTER = Attribute("exporter", "Exporter of the Collector, one for each store.")
DATA_TYPE = Attribute("data_type", "Signal that waits in a queue of the Collector.", ("traces", "metrics", "logs"))

_COUNTED = {"traces": "spans", "metrics": "metric_points", "logs": "log_records"}
COLLECTOR_SENT = {
    signal: Scraped(
        f"otelcol_exporter_sent_{items}", "counter", "", "Items that a store has taken.", (EXPORTER,), upstream=True
    )
    for signal, items in _COUNTED.items()
}
COLLECTOR_REFUSED = {
    signal: Scraped(
        f"otelcol_receiver_refused_{items}", "counter", "", "Items refused; senders keep them.", (), upstream=True
    )
    for signal, items in _COUNTED.items()
}
COLLECTOR_QUEUE_SIZE = Scraped(
    "otelcol_exporter_queue_size", "gauge", "", "Bytes that wait for a store.", (EXPORTER, DATA_TYPE), upstream=True
)
COLLECTOR_QUEUE_CAPACITY = Scraped(
    "otelcol_exporter_queue_capacity", "gauge", "", "Bytes that may wait.", (EXPORTER, DATA_TYPE), upstream=True
)
COLLECTOR = (*COLLECTOR_SENT.values(), *COLLECTOR_REFUSED.values(), COLLECTOR_QUEUE_SIZE, COLLECTOR_QUEUE_CAPACITY)
"""The Collector's metrics about itself: of the whole stack, independent of the chosen services."""
