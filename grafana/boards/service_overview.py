"""Service overview: requests, durations, failures and resources of the chosen services."""

from __future__ import annotations

from grafana.dashboard import dashboard as whole
from grafana.panels import Json, row
from grafana.rows import calls, http_server, messages, pipeline, runtime, spans
from grafana.variables import hosts, lines, services


def dashboard() -> Json:
    """Return the dashboard."""
    return whole(
        "otel-python-service-overview",
        "Service overview",
        "Requests, failures and durations, outgoing calls, SQL, logs, exceptions and processes of the chosen services.",
        [*services(), *hosts(), *lines()],
        [
            *row("At a glance", *http_server.numbers(), *messages.numbers()),
            *http_server.requests(),
            *calls.outgoing_http(),
            *calls.sql(),
            *spans.operations(),
            *messages.messages(),
            *runtime.processes(),
            *runtime.hosts(),
            *pipeline.pipeline(),
        ],
    )
