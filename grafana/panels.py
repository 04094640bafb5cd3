"""Panels, as the dictionaries of Grafana's Classic JSON.

Classic, schemaVersion 42, because file provisioning refuses the newer form. Panels get no ``id``:
Grafana numbers them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_distro.schema import Attribute

Json = dict[str, Any]

WIDTH = 24
"""Columns of Grafana's grid."""


def panel(kind: str, title: str, description: str, *targets: Json, size: tuple[int, int], unit: str = "") -> Json:
    """Return a panel of any type, ``size`` columns wide and rows high.

    Its data source is that of its first query.
    """
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": targets[0]["datasource"],
        "targets": [{"refId": chr(ord("A") + i), **target} for i, target in enumerate(targets)],
        "gridPos": {"w": size[0], "h": size[1]},
        "fieldConfig": {"defaults": {"unit": unit} if unit else {}, "overrides": []},
        "options": {},
    }


def stat(
    title: str, description: str, target: Json, *, unit: str, red_above: float | None = None, empty: str = "-"
) -> Json:
    """Return one big number: the newest value, red above a limit, ``empty`` without a value."""
    out = panel("stat", title, description, target, size=(4, 4), unit=unit)
    steps: list[Json] = [{"color": "green", "value": None}]
    if red_above is not None:
        steps.append({"color": "red", "value": red_above})
    out["fieldConfig"]["defaults"] |= {"noValue": empty, "thresholds": {"mode": "absolute", "steps": steps}}
    out["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
    }
    return out


def timeseries(
    title: str,
    description: str,
    *targets: Json,
    unit: str,
    width: int = 8,
    stacked: bool = False,
    colors: Mapping[str, str] | None = None,
) -> Json:
    """Return lines over time, or stacked areas; ``colors`` maps names of series to colours."""
    out = panel("timeseries", title, description, *targets, size=(width, 8), unit=unit)
    out["fieldConfig"]["defaults"] |= {
        "min": 0,
        "custom": {
            "fillOpacity": 40 if stacked else 8,
            "lineWidth": 1,
            "showPoints": "auto",
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        },
    }
    out["fieldConfig"]["overrides"] = [
        override(name, color={"mode": "fixed", "fixedColor": color}) for name, color in (colors or {}).items()
    ]
    out["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return out


def heatmap(title: str, description: str, target: Json, *, unit: str, width: int = 12) -> Json:
    """Return a heatmap of a histogram over time: darker cells hold more observations."""
    out = panel("heatmap", title, description, target, size=(width, 8))
    out["options"] = {
        "calculate": False,
        "yAxis": {"unit": unit},
        "cellValues": {"unit": "short"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "fill": "dark-orange", "exponent": 0.5},
        "exemplars": {"color": "rgba(110, 159, 255, 0.9)"},
        "filterValues": {"le": 1e-9},
        "tooltip": {"mode": "single", "yHistogram": False},
        "legend": {"show": True},
    }
    return out


def override(field: str, **properties: Any) -> Json:
    """Return the settings of one field or series, selected by name."""
    return {
        "matcher": {"id": "byName", "options": field},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def table(
    title: str,
    description: str,
    keys: Sequence[Attribute],
    columns: Mapping[str, tuple[str, Json]],
    *,
    size: tuple[int, int] = (24, 9),
    links: Mapping[Attribute, Json] | None = None,
) -> Json:
    """Return a table with a row for each combination of ``keys``, sorted by the first column.

    ``columns`` gives the heading of each column its unit and its query, which must keep exactly the
    labels of ``keys``.
    """
    out = panel("table", title, description, *(target for _, target in columns.values()), size=size)
    values = {f"Value #{target['refId']}": name for target, name in zip(out["targets"], columns, strict=True)}
    if len(values) == 1:
        values = {"Value": next(iter(columns))}
    order = [key.label for key in keys] + list(values)
    out["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: i for i, name in enumerate(order)},
                "renameByName": values | {key.label: key.name for key in keys},
            },
        },
    ]
    out["fieldConfig"]["overrides"] = [override(name, unit=unit) for name, (unit, _) in columns.items()]
    out["fieldConfig"]["overrides"] += [override(key.name, links=[link]) for key, link in (links or {}).items()]
    out["options"] = {"showHeader": True, "sortBy": [{"displayName": next(iter(columns)), "desc": True}]}
    return out


def logs(title: str, description: str, target: Json, *, width: int = 24, height: int = 10) -> Json:
    """Return log lines, newest first; the details of a line hold the link to its trace."""
    out = panel("logs", title, description, {**target, "maxLines": 200}, size=(width, height))
    out["options"] = {
        "showTime": True,
        "wrapLogMessage": True,
        "enableLogDetails": True,
        "sortOrder": "Descending",
        "dedupStrategy": "none",
    }
    return out


def traces(title: str, description: str, target: Json, *, width: int = 24) -> Json:
    """Return the table of found traces; a click on an id opens the trace."""
    out = panel("table", title, description, target, size=(width, 8))
    out["options"] = {"showHeader": True}
    return out


def row(title: str, *panels: Json, collapsed: bool = False) -> list[Json]:
    """Return a row heading with its panels, which ``collapsed`` hides until it is opened."""
    heading = {"type": "row", "title": title, "collapsed": collapsed, "gridPos": {"w": WIDTH, "h": 1}, "panels": []}
    if not collapsed:
        return [heading, *panels]
    return [heading | {"panels": list(panels)}]
