"""Security: refused requests, sensitive files and programs, and the state of audit files."""

from __future__ import annotations

from grafana.collector_names import EVENT_NAME
from grafana.panels import Json, logs, row, stat, timeseries
from grafana.promql import PROCESS, by, differs, equals, rate, value
from grafana.rows.messages import STREAMS, count_lines
from grafana.rows.totals import counted, lines
from grafana.targets import legend, loki, prometheus
from otel_distro import schema

AUDIT = f"{STREAMS} | {differs(schema.AUDIT_NAME, '')}"
REFUSED = f"{STREAMS} | {equals(EVENT_NAME, schema.AUDIT_HTTP_REFUSED.name)}"
LOGINS = f"{STREAMS} | {equals(EVENT_NAME, schema.AUDIT_AUTH_LOGIN.name)} | {equals(schema.AUDIT_OUTCOME, 'failure')}"
SENSITIVE = f"{STREAMS} | {equals(EVENT_NAME, schema.AUDIT_FILE_SENSITIVE.name)}"
BROKEN = (*PROCESS, equals(schema.AUDIT_CHAIN_STATE, "broken"))


def numbers() -> list[Json]:
    """Return the numbers at the top."""
    return [
        lines(
            "Refused requests",
            "Requests in the time range that were answered with 401 or 403.",
            REFUSED,
            red_above=0.5,
        ),
        lines("Failed logins", "Logins in the time range that failed.", LOGINS, red_above=0.5),
        lines("Sensitive files", "Sensitive files that were opened in the time range.", SENSITIVE, red_above=0.5),
        counted(
            "Rate-limited events",
            "Audit events in the time range beyond the rate limit, which were not sent.",
            schema.AUDIT_EVENTS_RATE_LIMITED,
            red_above=0.5,
        ),
        stat(
            "Broken audit files",
            "Audit files whose hash chain was found changed; 0 also where no process keeps such a file.",
            prometheus(f"{by('sum', value(schema.AUDIT_CHAIN_STATUS, BROKEN))} or vector(0)"),
            unit="short",
            red_above=0.5,
        ),
        counted(
            "Secrets hidden",
            "Values in the time range that were hidden before anything left the processes.",
            schema.REDACTION_HIDDEN,
        ),
    ]


def refused() -> list[Json]:
    """Return the row about refused attempts."""
    address = schema.CLIENT_ADDRESS
    return row(
        "Refused attempts",
        timeseries(
            "Refused requests by address",
            "Requests answered with 401 or 403 in each step of the graph, by the client's address.",
            loki(count_lines(REFUSED, address), legend(address)),
            unit="short",
            stacked=True,
        ),
        timeseries(
            "Failed logins by address",
            "Failed logins in each step of the graph, by the client's address.",
            loki(f"{count_lines(LOGINS, address)} or vector(0)", legend(address)),
            unit="short",
            stacked=True,
        ),
        timeseries(
            "Sensitive files opened",
            "Sensitive files that were opened in each step of the graph.",
            loki(f"{count_lines(SENSITIVE, schema.FILE_PATH)} or vector(0)", legend(schema.FILE_PATH)),
            unit="short",
            stacked=True,
        ),
        logs(
            "Newest refused requests",
            "Refused requests with client and target. The details of a line open its trace.",
            loki(REFUSED),
        ),
    )


def audit() -> list[Json]:
    """Return the row about all audit events."""
    kind = (schema.AUDIT_NAME, schema.AUDIT_OUTCOME)
    hidden = by("sum", rate(schema.REDACTION_HIDDEN, PROCESS), schema.REDACTION_KIND)
    return row(
        "Audit",
        timeseries(
            "Audit events by kind",
            "Audit events per second, by name and outcome.",
            prometheus(by("sum", rate(schema.AUDIT_EVENTS, PROCESS), *kind), legend(*kind)),
            unit="ops",
        ),
        timeseries(
            "Rate-limited events by kind",
            "Audit events per second beyond the rate limit.",
            prometheus(
                f"{by('sum', rate(schema.AUDIT_EVENTS_RATE_LIMITED, PROCESS), schema.AUDIT_NAME)} or vector(0)",
                legend(schema.AUDIT_NAME),
            ),
            unit="ops",
        ),
        timeseries(
            "Secrets hidden by kind",
            "Values per second that were hidden before anything left the processes.",
            prometheus(f"{hidden} or vector(0)", legend(schema.REDACTION_KIND)),
            unit="ops",
        ),
        logs("Newest audit events", "Who did what to what, with which outcome.", loki(AUDIT), height=14),
    )
