"""Numbers over the time range of the dashboard, zero where nothing was counted."""

from __future__ import annotations

from grafana.panels import Json, stat
from grafana.promql import PROCESS, by, increase
from grafana.targets import loki, prometheus
from otel_distro.schema import Metric


def counted(
    title: str, description: str, metric: Metric, scope: tuple[str, ...] = PROCESS, *, red_above: float | None = None
) -> Json:
    """Return the increase of a counter, over all its series."""
    query = prometheus(f"{by('sum', increase(metric, scope))} or vector(0)")
    return stat(title, description, query, unit="short", red_above=red_above)


def lines(title: str, description: str, query: str, *, red_above: float | None = None) -> Json:
    """Return the number of log lines that a LogQL ``query`` finds."""
    target = loki(f"sum(count_over_time({query} [$__range])) or vector(0)", instant=True)
    return stat(title, description, target, unit="short", red_above=red_above)
