"""Service overview: what the chosen services do, how fast, how often it fails, and what they need for it."""

from __future__ import annotations

from grafana import collector_names as names
from grafana.dashboard import choice, label_values, sources, text
from grafana.dashboard import dashboard as whole
from grafana.panels import Json, row
from grafana.promql import ENVIRONMENT, SERVICE, differs
from grafana.rows import calls, http_server, messages, runtime, spans
from otel_distro import schema


def dashboard() -> Json:
    """Return the dashboard."""
    return whole(
        "otel-python-service-overview",
        "Service overview",
        "Requests, failures and durations, outgoing calls, SQL, logs, exceptions and processes of the chosen services.",
        variables(),
        [
            *row("At a glance", *http_server.numbers(), *messages.numbers()),
            *http_server.requests(),
            *calls.outgoing_http(),
            *calls.sql(),
            *spans.operations(),
            *messages.messages(),
            *runtime.processes(),
            *runtime.hosts(),
        ],
    )


def variables() -> list[Json]:
    """Return the variables: each narrows those after it, and its *All* includes resources without the attribute."""
    known = differs(schema.SERVICE_NAME, "")
    environment, namespace = SERVICE[0], SERVICE[1]
    return [
        *sources(),
        label_values("environment", schema.DEPLOYMENT_ENVIRONMENT, "", (known,)),
        label_values("namespace", schema.SERVICE_NAMESPACE, "", (known, environment)),
        # Every service has a name, and Loki wants one condition that does not match the empty string.
        label_values("service", schema.SERVICE_NAME, "", (known, environment, namespace), every=".+"),
        label_values("instance", names.INSTANCE, "", (known, *SERVICE), label="Process"),
        label_values("host", names.HOST_NAME, names.TARGET_INFO.series(), ENVIRONMENT),
        choice("level", names.DETECTED_LEVEL),
        text("search", "Log text", "Regular expression that the log lines shown must match."),
    ]
