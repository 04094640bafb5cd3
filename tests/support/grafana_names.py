"""Shared by the tests of dashboards: the dashboards, and every series with its possible labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana import collector_names
from otel_distro import schema
from otel_distro.schema import Attribute, Metric

GRAFANA = Path(collector_names.__file__).parent
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))

COLLECTOR = tuple(m for m in vars(collector_names).values() if type(m) is Metric)
METRICS = (*schema.metrics(), *schema.metrics(upstream=True), *COLLECTOR, *collector_names.COLLECTOR)
ATTRIBUTES = {
    attribute.label: attribute
    for module in (schema, collector_names)
    for attribute in vars(module).values()
    if isinstance(attribute, Attribute)
}


def load(file: Path) -> dict[str, Any]:
    """Return the dashboard in ``file``."""
    dashboard: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return dashboard


def _labels(metric: Metric) -> set[str]:
    labels = {attribute.label for attribute in metric.attributes}
    if metric == collector_names.TARGET_INFO:
        # Prometheus keeps the attributes that it made `job` and `instance` of.
        return labels | {"job", "instance", schema.DEPLOYMENT_ENVIRONMENT.label}
    if metric in collector_names.COLLECTOR:
        return labels | {"job", "instance"}
    labels |= {"job"} | {attribute.label for attribute in collector_names.PROMOTED}
    return labels if metric in collector_names.DERIVED else labels | {"instance"}


SERIES: dict[str, tuple[Metric, set[str]]] = {}
"""Name of a series -> its metric and its labels."""

for _metric in METRICS:
    if _metric.instrument == "histogram":
        SERIES[_metric.series("bucket")] = (_metric, _labels(_metric) | {"le"})
        SERIES[_metric.series("count")] = (_metric, _labels(_metric))
        SERIES[_metric.series("sum")] = (_metric, _labels(_metric))
    else:
        SERIES[_metric.series()] = (_metric, _labels(_metric))
