"""The frame of a dashboard: its variables, its grid and its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grafana.panels import WIDTH, Json
from grafana.promql import select
from grafana.targets import SOURCES, source
from otel_distro.schema import Attribute

TAG = "otel-python"
"""The tag by which the dashboards of this bundle link to each other."""


def dashboard(uid: str, title: str, description: str, variables: Sequence[Json], panels: Sequence[Json]) -> Json:
    """Return a whole dashboard; its ``uid`` must never change: links and bookmarks use it."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "refresh": "30s",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "OTel Python",
                "tags": [TAG],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": list(variables)},
        "panels": place(panels),
    }


def place(panels: Iterable[Json]) -> list[Json]:
    """Return the panels with their positions: left to right, a new line where one does not fit.

    Panels of collapsed rows are placed alike.
    """
    placed: list[Json] = []
    x = y = line = 0
    for panel in panels:
        width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
        if x + width > WIDTH or panel["type"] == "row":
            x, y, line = 0, y + line, 0
        out = panel | {"gridPos": {"h": height, "w": width, "x": x, "y": y}}
        if panel.get("panels"):
            hidden = place(panel["panels"])
            out["panels"] = [p | {"gridPos": p["gridPos"] | {"y": p["gridPos"]["y"] + y + height}} for p in hidden]
        placed.append(out)
        x, line = x + width, max(line, height)
    return placed


def sources() -> list[Json]:
    """Return the variables that select the data sources; the bundle's own are preselected."""
    return [
        {
            "type": "datasource",
            "name": name,
            "label": kind.capitalize(),
            "description": f"Data source of type {kind}.",
            "query": kind,
            "current": {"text": kind.capitalize(), "value": kind},
            "hide": 0,
            "includeAll": False,
            "multi": False,
            "refresh": 1,
            "regex": "",
        }
        for kind, name in SOURCES.items()
    ]


def label_values(
    name: str, attribute: Attribute, series: str, scope: Sequence[str] = (), *, every: str = ".*", label: str = ""
) -> Json:
    """Return a variable with the values of a label on the series that ``scope`` selects.

    One, several or *All* can be selected. *All* is the regular expression ``every``: ``.*`` also
    matches where the label is absent.
    """
    query = f"label_values({select(series, tuple(scope))}, {attribute.label})"
    return {
        "type": "query",
        "name": name,
        "label": label or name.capitalize(),
        "description": attribute.brief,
        "datasource": source("prometheus"),
        "definition": query,
        "query": {"query": query, "refId": name},
        "allValue": every,
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
    }


def choice(name: str, attribute: Attribute) -> Json:
    """Return a variable with the declared values of an attribute; one, several or *All*."""
    return {
        "type": "custom",
        "name": name,
        "label": name.capitalize(),
        "description": attribute.brief,
        "query": ",".join(attribute.values),
        "allValue": ".*",
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
    }


def text(name: str, label: str, description: str) -> Json:
    """Return a text variable, initially empty."""
    return {
        "type": "textbox",
        "name": name,
        "label": label,
        "description": description,
        "query": "",
        "current": {"text": "", "value": ""},
        "options": [],
        "hide": 0,
    }
