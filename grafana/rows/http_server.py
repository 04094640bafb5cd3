"""Requests that the services answer over HTTP: rate, failures and duration."""

from __future__ import annotations

from grafana import traceql
from grafana.panels import Json, heatmap, row, stat, table, timeseries
from grafana.promql import PROCESS, RANGE, buckets, by, matches, quantile, rate, share, value
from grafana.targets import explore, legend, prometheus, tempo
from otel_distro import schema

SERVER = schema.HTTP_SERVER_DURATION
SERVER_ERROR = matches(schema.HTTP_RESPONSE_STATUS_CODE, "5..")
ROUTE = (schema.HTTP_REQUEST_METHOD, schema.HTTP_ROUTE)

OPEN_ROUTE = explore(
    "Traces of this route",
    tempo(
        traceql.search(
            "kind = server",
            f"resource.{schema.SERVICE_NAME.name} = {traceql.cell(schema.SERVICE_NAME)}",
            f"span.{schema.HTTP_ROUTE.name} = {traceql.cell(schema.HTTP_ROUTE)}",
        )
    ),
)


def numbers() -> list[Json]:
    """Return the four numbers about requests."""
    return [
        stat(
            "Requests",
            "HTTP requests served per second.",
            prometheus(by("sum", rate(SERVER, PROCESS))),
            unit="reqps",
        ),
        stat(
            "Failed requests",
            "Share of the HTTP requests answered with a status of 500 or more.",
            prometheus(share(SERVER, PROCESS, SERVER_ERROR)),
            unit="percentunit",
            red_above=0.01,
        ),
        stat(
            "p95 duration",
            "95 of 100 HTTP requests are answered faster than this.",
            prometheus(quantile(0.95, SERVER, PROCESS)),
            unit="s",
        ),
        stat(
            "Active requests",
            "HTTP requests being served right now.",
            prometheus(by("sum", value(schema.HTTP_SERVER_ACTIVE, PROCESS))),
            unit="short",
        ),
    ]


def requests() -> list[Json]:
    """Return the row about requests by route: rate, duration, failures."""
    return row("HTTP server", *_counts(), *_durations(), _routes())


def _counts() -> list[Json]:
    status, method = schema.HTTP_RESPONSE_STATUS_CODE, schema.HTTP_REQUEST_METHOD
    return [
        timeseries(
            "Requests by route",
            "HTTP requests served per second.",
            prometheus(by("sum", rate(SERVER, PROCESS), *ROUTE), legend(*ROUTE)),
            unit="reqps",
        ),
        timeseries(
            "Requests by status",
            "HTTP requests served per second, by the status of the answer.",
            prometheus(by("sum", rate(SERVER, PROCESS), status), legend(status)),
            unit="reqps",
            stacked=True,
        ),
        timeseries(
            "Active requests by method",
            "HTTP requests being served.",
            prometheus(by("sum", value(schema.HTTP_SERVER_ACTIVE, PROCESS), method), legend(method)),
            unit="short",
        ),
    ]


def _durations() -> list[Json]:
    return [
        timeseries(
            "Request duration",
            "50, 95 and 99 of 100 requests are faster than this. A diamond is one request: click it for its trace.",
            *(
                prometheus(quantile(q, SERVER, PROCESS), name, exemplar=q == 0.95)
                for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            unit="s",
            width=12,
        ),
        timeseries(
            "p95 duration by route",
            "95 of 100 requests of the route are faster than this. A diamond is one request: click it for its trace.",
            prometheus(quantile(0.95, SERVER, PROCESS, *ROUTE), legend(*ROUTE), exemplar=True),
            unit="s",
            width=12,
        ),
        heatmap(
            "Distribution of request durations",
            "How many requests per second took how long. A point is one request: click it for its trace.",
            prometheus(buckets(SERVER, PROCESS), "{{le}}", heatmap=True, exemplar=True),
            unit="s",
        ),
        timeseries(
            "Failed requests by route",
            "Share of the requests of the route answered with a status of 500 or more.",
            prometheus(share(SERVER, PROCESS, SERVER_ERROR, *ROUTE), legend(*ROUTE)),
            unit="percentunit",
            width=12,
        ),
    ]


def _routes() -> Json:
    keys = (schema.SERVICE_NAME, *ROUTE)

    def duration(q: float) -> tuple[str, Json]:
        return "s", prometheus(quantile(q, SERVER, PROCESS, *keys, window=RANGE), table=True)

    return table(
        "Routes",
        "Every route in the time range: rate, share of failures, durations. Click a route for its traces.",
        keys,
        {
            "Requests": ("reqps", prometheus(by("sum", rate(SERVER, PROCESS, RANGE), *keys), table=True)),
            "Failed": (
                "percentunit",
                prometheus(share(SERVER, PROCESS, SERVER_ERROR, *keys, window=RANGE), table=True),
            ),
            "p50": duration(0.5),
            "p95": duration(0.95),
            "p99": duration(0.99),
        },
        links={schema.HTTP_ROUTE: OPEN_ROUTE},
    )
