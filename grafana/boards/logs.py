"""Logs: log lines by level and logger, errors, and business events."""

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
        "Log lines of the chosen services by level and logger, errors, deduplication and business events.",
        [*services(), *lines()],
        [
            *row("At a glance", *log_lines.numbers()),
            *log_lines.volume(),
            *log_lines.errors(),
            *log_lines.business(),
        ],
    )
