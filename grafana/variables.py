"""The variables of every dashboard: services, and within them processes and log lines."""

from __future__ import annotations

from grafana import collector_names as names
from grafana.dashboard import choice, label_values, sources, text
from grafana.panels import Json
from grafana.promql import ENVIRONMENT, SERVICE, differs
from otel_distro import schema


def services() -> list[Json]:
    """Return the variables for services and processes; each narrows those after it.

    *All* of each includes resources without the attribute.
    """
    known = differs(schema.SERVICE_NAME, "")
    environment, namespace = SERVICE[0], SERVICE[1]
    return [
        *sources(),
        label_values("environment", schema.DEPLOYMENT_ENVIRONMENT, "", (known,)),
        label_values("namespace", schema.SERVICE_NAMESPACE, "", (known, environment)),
        # Every service has a name, and Loki requires one matcher that does not match the empty
        # string.
        label_values("service", schema.SERVICE_NAME, "", (known, environment, namespace), every=".+"),
        label_values("instance", names.INSTANCE, "", (known, *SERVICE), label="Process"),
    ]


def hosts() -> list[Json]:
    """Return the variable for hosts in the chosen environments."""
    return [label_values("host", names.HOST_NAME, names.TARGET_INFO.series(), ENVIRONMENT)]


def lines() -> list[Json]:
    """Return the variables for log lines."""
    return [
        choice("level", names.DETECTED_LEVEL),
        text("search", "Log text", "Regular expression that the log lines shown must match."),
    ]
