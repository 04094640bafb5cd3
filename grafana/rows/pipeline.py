"""Delivery of the telemetry itself, from the processes through the Collector to the stores."""

from __future__ import annotations

from grafana import collector_names as names
from grafana.panels import Json, row, timeseries
from grafana.promql import PROCESS, by, differs, equals, quantile, rate, value
from grafana.targets import legend, prometheus
from otel_distro import schema

TAKEN = (*PROCESS, equals(schema.ERROR_TYPE, ""))
LOST = (*PROCESS, differs(schema.ERROR_TYPE, ""))
NO_LOSS = f'label_replace(vector(0), "{schema.ERROR_TYPE.label}", "nothing lost", "", "")'


def pipeline() -> list[Json]:
    """Return the row about the telemetry of the chosen processes and the whole stack's Collector.

    Initially collapsed: it answers whether the other rows show everything.
    """
    return row("Telemetry pipeline", *_processes(), *_collector(), collapsed=True)


def _processes() -> list[Json]:
    counters = (*schema.SDK_EXPORTED.values(), *schema.SDK_PROCESSED.values())
    lost = by("sum", " or ".join(rate(counter, LOST) for counter in counters), schema.ERROR_TYPE)
    return [
        timeseries(
            "Telemetry sent",
            "Spans, data points and log records that the Collector took per second.",
            *(prometheus(by("sum", rate(metric, TAKEN)), signal) for signal, metric in schema.SDK_EXPORTED.items()),
            unit="ops",
            width=6,
        ),
        timeseries(
            "Telemetry lost by reason",
            "Items per second that were dropped in the process or its spool, or refused for good and kept as dead letters.",
            prometheus(f"{lost} or {NO_LOSS}", legend(schema.ERROR_TYPE)),
            unit="ops",
            width=6,
        ),
        timeseries(
            "Telemetry queue",
            "Items that wait in memory to be written to the spool.",
            *(
                prometheus(by("sum", value(metric, PROCESS)), signal)
                for signal, metric in schema.SDK_QUEUE_SIZE.items()
            ),
            unit="short",
            width=6,
        ),
        timeseries(
            "p95 duration of export",
            "95 of 100 requests to the Collector are answered faster than this.",
            prometheus(
                quantile(0.95, schema.SDK_EXPORT_DURATION, PROCESS, schema.COMPONENT_TYPE),
                legend(schema.COMPONENT_TYPE),
                exemplar=True,
            ),
            unit="s",
            width=6,
        ),
    ]


def _collector() -> list[Json]:
    queue = legend(names.EXPORTER, names.DATA_TYPE)
    size = by("max", value(names.COLLECTOR_QUEUE_SIZE, ()), names.EXPORTER, names.DATA_TYPE)
    capacity = by("max", value(names.COLLECTOR_QUEUE_CAPACITY, ()), names.EXPORTER, names.DATA_TYPE)
    return [
        timeseries(
            "Collector: taken by stores",
            "Items per second that Tempo, Loki and Prometheus took from the Collector, of all services.",
            *(
                prometheus(by("sum", rate(metric, ()), names.EXPORTER), f"{signal} {legend(names.EXPORTER)}")
                for signal, metric in names.COLLECTOR_SENT.items()
            ),
            unit="ops",
        ),
        timeseries(
            "Collector: queues",
            "How full the Collector's queues on disk are; a full one makes it refuse, and the processes keep.",
            prometheus(f"{size} / {capacity}", queue),
            unit="percentunit",
        ),
        timeseries(
            "Collector: refused",
            "Items per second that the Collector did not take, for want of room or memory; they are sent again.",
            *(
                prometheus(f"{by('sum', rate(metric, ()))} or vector(0)", signal)
                for signal, metric in names.COLLECTOR_REFUSED.items()
            ),
            unit="ops",
        ),
    ]
