"""Errors: which exceptions, how often, which of them are new, and where."""

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
        "Exceptions of the chosen services: how often which kind, what is new since the last deploy, and the stacks.",
        [*services()],
        [
            *row("At a glance", *failures.numbers()),
            *failures.rates(),
            *failures.kinds(),
            *failures.stacks(),
        ],
    )
