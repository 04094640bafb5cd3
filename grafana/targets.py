"""The queries of panels, and links that open a query in Explore."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from grafana.panels import Json
from otel_distro.schema import Attribute

SOURCES = {"prometheus": "datasource", "loki": "loki", "tempo": "tempo"}
"""Type of a data source -> the variable that selects one."""


def source(kind: str) -> Json:
    """Return the reference to the selected data source of this type."""
    return {"type": kind, "uid": f"${{{SOURCES[kind]}}}"}


def legend(*attributes: Attribute) -> str:
    """Return a legend of the values of ``attributes``."""
    return " ".join(f"{{{{{attribute.label}}}}}" for attribute in attributes)


def prometheus(
    expr: str, legend: str = "", *, table: bool = False, heatmap: bool = False, exemplar: bool = False
) -> Json:
    """Return a PromQL query: over time, or with ``table`` at the end of the range.

    ``exemplars`` adds links to traces.
    """
    return {
        "datasource": source("prometheus"),
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend or "__auto",
        "instant": table,
        "range": not table,
        "exemplar": exemplar,
        "format": "table" if table else "heatmap" if heatmap else "time_series",
    }


def loki(expr: str, legend: str = "", *, instant: bool = False) -> Json:
    """Return a LogQL query: lines or numbers over time, or with ``instant`` one final number."""
    return {
        "datasource": source("loki"),
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend,
        "queryType": "instant" if instant else "range",
    }


def tempo(query: str, limit: int = 20) -> Json:
    """Return a TraceQL search for the newest ``limit`` traces."""
    return {
        "datasource": source("tempo"),
        # Without the hint Tempo returns some matching traces, not the newest.
        "query": f"{query} with (most_recent=true)",
        "queryType": "traceql",
        "tableType": "traces",
        "limit": limit,
        "filters": [],
    }


def explore(title: str, query: Json) -> Json:
    """Return a link that opens a query in Explore, in the dashboard's time range; it names no host.

    The query may refer to a field of the row as ``${__data.fields.x:percentencode}``. A variable of
    the dashboard would lack the encoding that a URL needs.
    """
    pane = {
        "datasource": query["datasource"]["uid"],
        "queries": [{"refId": "A", **query}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    panes = json.dumps({"pane": pane}, separators=(",", ":"))
    parts = re.split(r"(\$\{[^}]+\})", panes)
    encoded = "".join(part if part.startswith("${") else quote(part, safe="") for part in parts)
    return {"title": title, "url": f"/explore?schemaVersion=1&panes={encoded}", "targetBlank": False}
