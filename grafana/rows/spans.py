"""Spans: every operation, also those without a metric of their own, and the failed traces."""

from __future__ import annotations

from grafana import collector_names as names
from grafana import traceql
from grafana.panels import Json, row, table, traces
from grafana.promql import RANGE, SERVICE, by, equals, quantile, rate, share
from grafana.targets import explore, prometheus, tempo
from otel_distro import schema

SPAN = (schema.SERVICE_NAME, names.SPAN_NAME, names.SPAN_KIND)
FAILED = equals(names.STATUS_CODE, "STATUS_CODE_ERROR")

OPEN_SPANS = explore(
    "Traces with this operation",
    tempo(
        traceql.search(
            f"resource.{schema.SERVICE_NAME.name} = {traceql.cell(schema.SERVICE_NAME)}",
            f"name = {traceql.cell(names.SPAN_NAME)}",
        )
    ),
)


def operations() -> list[Json]:
    """Return the row with the table of operations and the newest failed traces."""
    calls = names.SPAN_CALLS

    def duration(q: float) -> tuple[str, Json]:
        return "s", prometheus(quantile(q, names.SPAN_DURATION, SERVICE, *SPAN, window=RANGE), table=True)

    return row(
        "Operations and traces",
        table(
            "Operations",
            "Every kind of span in the time range, counted before any sampling and over all processes. "
            "Click a name for its traces.",
            SPAN,
            {
                "Spans": ("ops", prometheus(by("sum", rate(calls, SERVICE, RANGE), *SPAN), table=True)),
                "Failed": ("percentunit", prometheus(share(calls, SERVICE, FAILED, *SPAN, window=RANGE), table=True)),
                "p50": duration(0.5),
                "p95": duration(0.95),
            },
            links={names.SPAN_NAME: OPEN_SPANS},
        ),
        traces(
            "Newest failed traces",
            "Traces with a failed span. Click a trace id to see the whole trace.",
            tempo(traceql.search("status = error", traceql.SERVICE)),
        ),
    )
