"""Security: refused requests, sensitive actions, and the state of audit files."""

from __future__ import annotations

from grafana.dashboard import dashboard as whole
from grafana.panels import Json, row
from grafana.rows import security
from grafana.variables import services


def dashboard() -> Json:
    """Return the dashboard."""
    return whole(
        "otel-python-security",
        "Security",
        "Refused attempts, sensitive files, audit events and the state of audit files of the chosen services.",
        [*services()],
        [
            *row("At a glance", *security.numbers()),
            *security.refused(),
            *security.audit(),
        ],
    )
