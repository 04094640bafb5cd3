"""The queries of a dashboard, as text that the stores understand, for tests with real stores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from grafana.panels import Json

MACROS = {"__rate_interval": "1m", "__range": "1h", "__interval": "15s", "__auto": "1m"}
"""Values of Grafana's macros for a range of one hour."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")


class Query(NamedTuple):
    """One query of a panel."""

    panel: str
    source: str
    expr: str


class LabelValues(NamedTuple):
    """The query of a variable: the values of ``label`` on the series that ``selector`` selects."""

    variable: str
    selector: str
    label: str


def panels(dashboard: Json) -> Iterator[Json]:
    """Yield every panel, also those in closed rows, without the rows themselves."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def queries(dashboard: Json, values: Mapping[str, str] | None = None) -> list[Query]:
    """Return every query of every panel with variables and macros replaced.

    ``values`` gives variables (``{"service": "shop"}``) and macros (``{"__range": "5m"}``); all
    other variables have the value *All*.

    Raises:
        KeyError: ``values`` names a variable that the dashboard does not declare.
    """
    known = _values(dashboard, values)
    return [
        Query(panel["title"], target["datasource"]["type"], substitute(target.get("expr") or target["query"], known))
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def variable_queries(dashboard: Json, values: Mapping[str, str] | None = None) -> list[LabelValues]:
    """Return the queries of the variables to Prometheus; ``values`` as in :func:`queries`."""
    known = _values(dashboard, values)
    found = []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            if not match:
                raise ValueError(f"variable {variable['name']} is no label_values(selector, label)")
            found.append(LabelValues(variable["name"], substitute(match["selector"], known), match["label"]))
    return found


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with each ``$name`` and ``${name}`` replaced.

    Raises:
        KeyError: A variable has no value.
    """
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def _values(dashboard: Json, values: Mapping[str, str] | None) -> dict[str, str]:
    declared = {v["name"]: v.get("allValue") or v["current"]["value"] for v in dashboard["templating"]["list"]}
    unknown = (values or {}).keys() - declared.keys() - MACROS.keys()
    if unknown:
        raise KeyError(f"the dashboard declares no variable {', '.join(sorted(unknown))}")
    return MACROS | declared | dict(values or {})
