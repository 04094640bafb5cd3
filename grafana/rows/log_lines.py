"""Log lines: number by level, errors, deduplication, and business events."""

from __future__ import annotations

from grafana.collector_names import EVENT_NAME, SCOPE_NAME
from grafana.panels import Json, logs, row, timeseries
from grafana.promql import PROCESS, by, differs, equals, rate
from grafana.rows.messages import FAILED_LINES, LINES, STREAMS, by_level, count_lines
from grafana.rows.totals import counted, lines
from grafana.targets import legend, loki, prometheus
from otel_distro import schema

BUSINESS = f"{STREAMS} | {differs(schema.EVENT_OUTCOME, '')}"
FAILED_BUSINESS = f"{BUSINESS} | {equals(schema.EVENT_OUTCOME, 'failure')}"


def numbers() -> list[Json]:
    """Return the numbers at the top."""
    return [
        lines("Lines", "Log lines in the time range.", LINES),
        lines("Error lines", "Log lines in the time range of level error or above.", FAILED_LINES),
        lines("Business events", "Business events in the time range.", BUSINESS),
        lines(
            "Failed business events", "Business events in the time range whose outcome is a failure.", FAILED_BUSINESS
        ),
        counted(
            "Deduplicated records",
            "Log records in the time range that were replaced by a later equal one.",
            schema.LOG_DEDUPLICATED,
        ),
    ]


def volume() -> list[Json]:
    """Return the row about the volume of logs."""
    return row(
        "Volume",
        by_level(),
        timeseries(
            "Lines by logger",
            "Log lines in each step of the graph, by the logger that wrote them.",
            loki(count_lines(LINES, SCOPE_NAME), legend(SCOPE_NAME)),
            unit="short",
            stacked=True,
        ),
        timeseries(
            "Deduplication",
            "Log records per second that were replaced by a later equal one, whose details hold their number.",
            prometheus(f"{by('sum', rate(schema.LOG_DEDUPLICATED, PROCESS))} or vector(0)", "deduplicated"),
            unit="ops",
        ),
    )


def errors() -> list[Json]:
    """Return the row with the stream of errors, and all lines."""
    return row(
        "Lines",
        logs(
            "Error stream",
            "Log lines of level error or above. The details of a line open its trace.",
            loki(FAILED_LINES),
        ),
        logs("All lines", "Log lines of the services, filtered by Level and Log text.", loki(LINES), height=14),
    )


def business() -> list[Json]:
    """Return the row about business events."""
    return row(
        "Business events",
        timeseries(
            "Business events by name",
            "Business events in each step of the graph, by their name and outcome.",
            loki(count_lines(BUSINESS, EVENT_NAME, schema.EVENT_OUTCOME), legend(EVENT_NAME, schema.EVENT_OUTCOME)),
            unit="short",
            width=10,
            stacked=True,
        ),
        logs(
            "Newest business events",
            "Business events with their fields in the details.",
            loki(BUSINESS),
            width=14,
            height=8,
        ),
    )
