"""Logs: what the services say, and what the business does."""

from __future__ import annotations

from grafana.dashboard import dashboard as whole
from grafana.panels import Json, row
from grafana.rows import log_lines
from grafana.variables import lines, services


def dashboard() -> Json:
    """Return the dashboard."""
    return whole(
        "otel-python-logs",
        "Logs",
        "Log lines of the chosen services by level and logger, the errors among them, folded repeats and business events.",
        [*services(), *lines()],
        [
            *row("At a glance", *log_lines.numbers()),
            *log_lines.volume(),
            *log_lines.errors(),
            *log_lines.business(),
        ],
    )
