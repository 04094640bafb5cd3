"""Outgoing calls of the services: HTTP to other services, and databases."""

from __future__ import annotations

from grafana.panels import Json, row, timeseries
from grafana.promql import PROCESS, by, differs, quantile, rate, share
from grafana.targets import legend, prometheus
from otel_distro import schema
from otel_distro.schema import Attribute, Metric


def outgoing_http() -> list[Json]:
    """Return the row about outgoing HTTP requests, by the host called."""
    return _calls("Outgoing HTTP", schema.HTTP_CLIENT_DURATION, (schema.SERVER_ADDRESS, schema.SERVER_PORT), "reqps")


def sql() -> list[Json]:
    """Return the row about database operations, by database and kind of statement."""
    return _calls("SQL", schema.DB_CLIENT_DURATION, (schema.DB_SYSTEM_NAME, schema.DB_OPERATION_NAME), "ops")


def _calls(title: str, metric: Metric, keys: tuple[Attribute, ...], unit: str) -> list[Json]:
    return row(
        title,
        timeseries(
            f"{title}: calls",
            "Calls per second.",
            prometheus(by("sum", rate(metric, PROCESS), *keys), legend(*keys)),
            unit=unit,
        ),
        timeseries(
            f"{title}: failed",
            "Share of the calls that ended with an error.",
            prometheus(share(metric, PROCESS, differs(schema.ERROR_TYPE, ""), *keys), legend(*keys)),
            unit="percentunit",
        ),
        timeseries(
            f"{title}: p95 duration",
            "95 of 100 calls are faster than this. A diamond is one call: click it for its trace.",
            prometheus(quantile(0.95, metric, PROCESS, *keys), legend(*keys), exemplar=True),
            unit="s",
        ),
    )
