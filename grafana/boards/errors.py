"""Errors: number and kinds of exceptions, the new ones among them, and their stacks."""

from __future__ import annotations

from grafana.dashboard import dashboard as whole
from grafana.panels import Json, row
from grafana.rows import failures
from grafana.variables import services


def dashboard() -> Json:
    """Return the dashboard."""
    return whole(
        "otel-python-errors",
        "Errors",
        "Exceptions of the chosen services: rate by kind, kinds that are new since the last deploy, and stacks.",
        [*services()],
        [
            *row("At a glance", *failures.numbers()),
            *failures.rates(),
            *failures.kinds(),
            *failures.stacks(),
        ],
    )
