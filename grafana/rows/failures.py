"""Exceptions: their number by kind, the new ones among them, and their stacks."""

from __future__ import annotations

from grafana import traceql
from grafana.panels import Json, logs, row, table, timeseries
from grafana.promql import PROCESS, by, equals, increase, matches, rate
from grafana.rows.messages import ESCAPED, EXCEPTIONS
from grafana.rows.totals import counted
from grafana.targets import explore, legend, loki, prometheus
from otel_distro import schema

FINGERPRINT = schema.EXCEPTION_FINGERPRINT
KIND = (schema.EXCEPTION_TYPE, FINGERPRINT)
NEW_LINES = f"{EXCEPTIONS} | {equals(schema.EXCEPTION_FIRST_SEEN, 'true')}"

OPEN_STACKS = explore(
    "Stacks with this fingerprint",
    loki(f"{{{matches(schema.SERVICE_NAME, '.+')}}} | {FINGERPRINT.label}={traceql.cell(FINGERPRINT)}"),
)


def numbers() -> list[Json]:
    """Return the numbers at the top."""
    return [
        counted(
            "Exceptions",
            "Exceptions in the time range, caught or not, each counted once.",
            schema.PYTHON_EXCEPTIONS,
        ),
        counted(
            "Escaped exceptions",
            "Exceptions in the time range that no code of the application caught.",
            schema.PYTHON_EXCEPTIONS,
            ESCAPED,
            red_above=0.5,
        ),
        counted(
            "New kinds",
            "Fingerprints in the time range that this version of the service had not shown before.",
            schema.PYTHON_EXCEPTION_FIRST_SEEN,
            red_above=0.5,
        ),
    ]


def rates() -> list[Json]:
    """Return the row with the rates of exceptions."""

    def per_second(title: str, description: str, *keys: schema.Attribute) -> Json:
        return timeseries(
            title,
            description,
            prometheus(by("sum", rate(schema.PYTHON_EXCEPTIONS, PROCESS), *keys), legend(*keys)),
            unit="ops",
            stacked=True,
        )

    return row(
        "How often",
        per_second("Exceptions by type", "Exceptions per second, by their class.", schema.EXCEPTION_TYPE),
        per_second(
            "Exceptions by fingerprint",
            "Exceptions per second by type and place: the same over deploys, whatever the line numbers.",
            *KIND,
        ),
        per_second(
            "Exceptions by handler",
            "Exceptions per second by handler; handled ones were caught by the application.",
            schema.EXCEPTION_HANDLER,
            schema.EXCEPTION_HANDLED,
        ),
    )


def kinds() -> list[Json]:
    """Return the row with the tables of all kinds and of the new ones."""
    keys = (*KIND, schema.EXCEPTION_HANDLED, schema.EXCEPTION_HANDLER)
    return row(
        "Kinds",
        table(
            "Exceptions by kind",
            "Every kind of exception in the time range. Click a fingerprint for its stacks.",
            keys,
            {"Count": ("short", prometheus(by("sum", increase(schema.PYTHON_EXCEPTIONS, PROCESS), *keys), table=True))},
            size=(14, 9),
            links={FINGERPRINT: OPEN_STACKS},
        ),
        table(
            "New since the last deploy",
            "Fingerprints in the time range that this version of the service had not shown before.",
            KIND,
            {
                "Count": (
                    "short",
                    prometheus(by("sum", increase(schema.PYTHON_EXCEPTION_FIRST_SEEN, PROCESS), *KIND), table=True),
                )
            },
            size=(10, 9),
            links={FINGERPRINT: OPEN_STACKS},
        ),
    )


def stacks() -> list[Json]:
    """Return the row with the stack traces."""
    return row(
        "Stacks",
        logs(
            "Newest new stacks",
            "The first exception of each new kind. The details of a line open its trace.",
            loki(NEW_LINES),
        ),
        logs(
            "Newest stacks",
            "Exceptions with their stack traces. The details of a line open its trace and name its process.",
            loki(EXCEPTIONS),
            height=14,
        ),
    )
