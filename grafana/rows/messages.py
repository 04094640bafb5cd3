"""Log lines of the services, and the exceptions among them."""

from __future__ import annotations

from grafana.collector_names import DETECTED_LEVEL
from grafana.panels import Json, logs, row, stat, table, timeseries
from grafana.promql import PROCESS, SERVICE, by, differs, equals, increase, matches, select
from grafana.rows.totals import counted
from grafana.targets import legend, loki, prometheus
from otel_distro import schema

STREAMS = f"{select('', SERVICE)} | {matches(schema.SERVICE_INSTANCE_ID, '$instance')}"
LINES = f"{STREAMS} | {matches(DETECTED_LEVEL, '$level')} |~ `(?i)$search`"
FAILED_LINES = f"{STREAMS} | {matches(DETECTED_LEVEL, 'error|critical|fatal')}"
EXCEPTIONS = f"{STREAMS} | {differs(schema.EXCEPTION_TYPE, '')} | {equals(schema.EXCEPTION_ANSWER, '')}"

ESCAPED = (*PROCESS, equals(schema.EXCEPTION_HANDLED, "false"))
"""Exceptions of the chosen processes that no code of the application caught."""

LEVEL_COLORS = {
    "trace": "#6ed0e0",
    "debug": "#5794f2",
    "info": "#73bf69",
    "warn": "#eab839",
    "error": "#f2495c",
    "critical": "#b877d9",
    "fatal": "#b877d9",
    "unknown": "#9fa7b3",
}


def numbers() -> list[Json]:
    """Return the two numbers about exceptions and log lines."""
    return [
        counted(
            "Uncaught exceptions",
            "Exceptions in the time range that no code of the application caught.",
            schema.PYTHON_EXCEPTIONS,
            ESCAPED,
            red_above=0.5,
        ),
        stat(
            "Error lines",
            "Log lines in the time range of level error or above.",
            loki(f"sum(count_over_time({FAILED_LINES} [$__range]))", instant=True),
            unit="short",
            red_above=1,
            empty="0",
        ),
    ]


def by_level() -> Json:
    """Return the graph of log lines by level."""
    return timeseries(
        "Log lines by level",
        "Log lines in each step of the graph that the variables Level and Log text select.",
        loki(count_lines(LINES, DETECTED_LEVEL), legend(DETECTED_LEVEL)),
        unit="short",
        stacked=True,
        colors=LEVEL_COLORS,
    )


def messages() -> list[Json]:
    """Return the row about log lines and exceptions."""
    kind, uncaught = schema.EXCEPTION_TYPE, (schema.EXCEPTION_TYPE, schema.EXCEPTION_HANDLER)
    return row(
        "Logs and exceptions",
        by_level(),
        timeseries(
            "Logged exceptions by type",
            "Log lines with an exception, caught and logged or uncaught, in each step of the graph.",
            loki(count_lines(EXCEPTIONS, kind), legend(kind)),
            unit="short",
            stacked=True,
        ),
        table(
            "Uncaught exceptions by type",
            "Exceptions in the time range that no code of the application caught, and the hook that saw them.",
            uncaught,
            {
                "Count": (
                    "short",
                    prometheus(by("sum", increase(schema.PYTHON_EXCEPTIONS, ESCAPED), *uncaught), table=True),
                )
            },
            size=(8, 8),
        ),
        logs("Newest exceptions", "Log lines with an exception, with the stack trace in the text.", loki(EXCEPTIONS)),
        logs("Log lines", "Log lines of the services. The details of a line open its trace.", loki(LINES), height=14),
    )


def count_lines(lines: str, *attributes: schema.Attribute) -> str:
    """Return the LogQL that counts lines in each step of a graph, by ``attributes``."""
    return f"sum by ({', '.join(attribute.label for attribute in attributes)}) (count_over_time({lines} [$__auto]))"
