"""PromQL over the names registry: expressions refer to a metric's declaration, not to a string."""

from __future__ import annotations

from grafana.collector_names import HOST_NAME, INSTANCE, JOB, TARGET_INFO
from otel_distro.schema import DEPLOYMENT_ENVIRONMENT, SERVICE_NAME, SERVICE_NAMESPACE, Attribute, Metric


def matches(attribute: Attribute, pattern: str) -> str:
    """Return the matcher for the values that match the regular expression ``pattern``."""
    return f'{attribute.label}=~"{pattern}"'


def differs(attribute: Attribute, value: str) -> str:
    """Return the matcher for every value but ``value``."""
    return f'{attribute.label}!="{value}"'


def equals(attribute: Attribute, value: str) -> str:
    """Return the matcher for one value."""
    return f'{attribute.label}="{value}"'


ENVIRONMENT = (matches(DEPLOYMENT_ENVIRONMENT, "$environment"),)
"""All series of the chosen environments; *All* includes resources without the attribute."""

SERVICE = (*ENVIRONMENT, matches(SERVICE_NAMESPACE, "$namespace"), matches(SERVICE_NAME, "$service"))
"""The chosen services, all their processes."""

PROCESS = (*SERVICE, matches(INSTANCE, "$instance"))
"""The chosen processes of the chosen services."""


STEP = "$__rate_interval"
"""Window of a graph: one step of it, and never less than the rate needs."""

RANGE = "$__range"
"""Window of a table: the time range of the dashboard."""


def select(series: str, scope: tuple[str, ...]) -> str:
    """Return the selector of a series."""
    return f"{series}{{{', '.join(scope)}}}"


def value(metric: Metric, scope: tuple[str, ...]) -> str:
    """Return the current value of a gauge or up-down counter."""
    return select(metric.series(), scope)


def rate(metric: Metric, scope: tuple[str, ...], window: str = STEP) -> str:
    """Return the increase per second of a counter, or of a histogram's count."""
    series = metric.series("count" if metric.instrument == "histogram" else "")
    return f"rate({select(series, scope)}[{window}])"


def increase(metric: Metric, scope: tuple[str, ...]) -> str:
    """Return the increase of a counter in the time range of the dashboard."""
    return f"increase({select(metric.series(), scope)}[{RANGE}])"


def by(operator: str, expression: str, *attributes: Attribute) -> str:
    """Aggregate an expression over all labels but ``attributes``."""
    labels = ", ".join(attribute.label for attribute in attributes)
    return f"{operator} by ({labels}) ({expression})" if labels else f"{operator}({expression})"


def buckets(metric: Metric, scope: tuple[str, ...], *attributes: Attribute, window: str = STEP) -> str:
    """Return the rate of each bucket of a histogram."""
    labels = ", ".join(("le", *(attribute.label for attribute in attributes)))
    return f"sum by ({labels}) (rate({select(metric.series('bucket'), scope)}[{window}]))"


def quantile(q: float, metric: Metric, scope: tuple[str, ...], *attributes: Attribute, window: str = STEP) -> str:
    """Return a quantile of a histogram for each combination of ``attributes``."""
    return f"histogram_quantile({q}, {buckets(metric, scope, *attributes, window=window)})"


def share(metric: Metric, scope: tuple[str, ...], part: str, *attributes: Attribute, window: str = STEP) -> str:
    """Return the share of a counter or histogram that the matcher ``part`` selects.

    It is 0 if no such series exists, and empty if the counter did not increase.
    """
    whole = by("sum", rate(metric, scope, window), *attributes)
    return f"({by('sum', rate(metric, (*scope, part), window), *attributes)} or {whole} * 0) / ({whole} > 0)"


def on_host(expression: str, *attributes: Attribute) -> str:
    """Add the name of its host to a host metric, with one value for several reporters."""
    keys = ", ".join(attribute.label for attribute in (JOB, INSTANCE))
    hosts = select(TARGET_INFO.series(), (*ENVIRONMENT, matches(HOST_NAME, "$host")))
    named = f"{expression} * on ({keys}) group_left ({HOST_NAME.label}) {by('group', hosts, JOB, INSTANCE, HOST_NAME)}"
    return by("max", named, HOST_NAME, *attributes)
