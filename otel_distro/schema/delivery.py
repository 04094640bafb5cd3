"""The telemetry of this distribution about itself."""

from __future__ import annotations

from otel_distro.schema.attributes import (
    COMPONENT_NAME,
    COMPONENT_TYPE,
    ERROR_TYPE,
    INSTRUMENTOR_NAME,
    SAMPLING_RESULT,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from otel_distro.schema.kinds import Attribute, Metric

INSTRUMENTOR_FAILURES = Metric(
    "otel_distro.instrumentor.failures",
    "counter",
    "{failure}",
    "Instrumentors that could not be loaded; the others run.",
    (INSTRUMENTOR_NAME, ERROR_TYPE),
)

_EXPORTER = (COMPONENT_TYPE, COMPONENT_NAME, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE)
_PROCESSOR = (COMPONENT_TYPE, COMPONENT_NAME, ERROR_TYPE)
_UNITS = {
    "traces": ("span", "{span}"),
    "metrics": ("metric_data_point", "{data_point}"),
    "logs": ("log", "{log_record}"),
}

SDK_EXPORTED = {
    signal: Metric(f"otel.sdk.exporter.{item}.exported", "counter", unit, "Items whose export ended.", _EXPORTER)
    for signal, (item, unit) in _UNITS.items()
}
SDK_INFLIGHT = {
    signal: Metric(f"otel.sdk.exporter.{item}.inflight", "updowncounter", unit, "Items being sent.", _EXPORTER)
    for signal, (item, unit) in _UNITS.items()
}
SDK_EXPORT_DURATION = Metric(
    "otel.sdk.exporter.operation.duration", "histogram", "s", "Duration of a request to the collector.", _EXPORTER
)
SDK_PROCESSED = {
    signal: Metric(f"otel.sdk.processor.{item}.processed", "counter", unit, "Items that left the queue.", _PROCESSOR)
    for signal, (item, unit) in _UNITS.items()
    if signal != "metrics"
}
SDK_QUEUE_SIZE = {
    signal: Metric(f"otel.sdk.processor.{item}.queue.size", "updowncounter", unit, "Items in the queue.", _PROCESSOR)
    for signal, (item, unit) in _UNITS.items()
    if signal != "metrics"
}
SDK_SPAN_STARTED = Metric(
    "otel.sdk.span.started", "counter", "{span}", "Spans that were started and sampled.", (SAMPLING_RESULT,)
)
SDK_SPAN_LIVE = Metric(
    "otel.sdk.span.live", "updowncounter", "{span}", "Sampled spans that have not ended.", (SAMPLING_RESULT,)
)
SDK_LOG_CREATED = Metric("otel.sdk.log.created", "counter", "{log_record}", "Log records that were emitted.")
SDK_QUEUE_CAPACITY = {
    signal: Metric(
        f"otel.sdk.processor.{item}.queue.capacity",
        "updowncounter",
        unit,
        "Maximum number of items in the queue.",
        _PROCESSOR,
    )
    for signal, (item, unit) in _UNITS.items()
    if signal != "metrics"
}

REDACTION_KIND = Attribute("otel_distro.redaction.kind", "Kind of the hidden value: key, card, jwt, sql and others.")
REDACTION_HIDDEN = Metric(
    "otel_distro.redaction.hidden",
    "counter",
    "{value}",
    "Secrets that were hidden before telemetry left the process.",
    (REDACTION_KIND,),
)
