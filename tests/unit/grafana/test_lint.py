"""Rules of every dashboard. Grafana reports none of them: a mistake shows as an empty panel."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from grafana.queries import panels
from grafana.targets import SOURCES
from tests.support.grafana_names import FILES, load

UNITS = {"reqps", "ops", "s", "short", "percentunit", "bytes", "Bps"}
DURATION = re.compile(r"\d+[smh]")

each_file = pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)


def unit(panel: dict[str, Any]) -> set[str]:
    """Return the units of a panel: of its axis, or of its columns."""
    if panel["type"] == "heatmap":
        return {panel["options"]["yAxis"]["unit"]}
    properties = [p for o in panel["fieldConfig"]["overrides"] for p in o["properties"]]
    default = panel["fieldConfig"]["defaults"].get("unit")
    return {p["value"] for p in properties if p["id"] == "unit"} | ({default} if default else set())


@each_file
def test_dashboard_settings_are_fixed(file: Path) -> None:
    """Classic form of the newest schema, a fixed uid, no id, read-only, a refresh as text."""
    dashboard = load(file)
    assert dashboard["schemaVersion"] == 42
    assert "id" not in dashboard
    assert re.fullmatch(r"otel-python-[a-z-]{1,28}", dashboard["uid"])
    assert dashboard["title"]
    assert dashboard["description"]
    assert dashboard["editable"] is False
    assert DURATION.fullmatch(dashboard["refresh"])


@each_file
def test_panel_has_title_and_description(file: Path) -> None:
    """Every panel has its own title and a description that is a sentence."""
    found = list(panels(load(file)))
    titles = [panel["title"] for panel in found]
    assert sorted(set(titles)) == sorted(titles)
    assert all(panel["description"].endswith(".") for panel in found)
    assert not any("id" in panel for panel in found)


@each_file
def test_panel_with_numbers_has_a_unit(file: Path) -> None:
    """Every panel with numbers has a known unit; log lines and found traces have none."""
    for panel in panels(load(file)):
        without = panel["datasource"]["type"] == "tempo" or panel["type"] == "logs"
        assert bool(unit(panel)) != without, panel["title"]
        assert unit(panel) <= UNITS, panel["title"]


@each_file
def test_query_uses_the_selected_source(file: Path) -> None:
    """Each query uses the variable of its type of source, which offers sources of that type."""
    dashboard = load(file)
    offered = {v["name"]: v["query"] for v in dashboard["templating"]["list"] if v["type"] == "datasource"}
    assert {name: kind for kind, name in SOURCES.items()} == offered
    for panel in panels(dashboard):
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source["uid"] == f"${{{SOURCES[source['type']]}}}"
            assert source == panel["datasource"]


@each_file
def test_query_window_follows_the_dashboard(file: Path) -> None:
    """A graph uses Grafana's own step, a table or a total the time range; none a fixed time."""
    graph = {"prometheus": {"$__rate_interval"}, "loki": {"$__auto"}}
    for panel in panels(load(file)):
        for target in panel["targets"]:
            windows = set(re.findall(r"\[([^]]+)\]", target.get("expr", "")))
            if panel["type"] in ("timeseries", "heatmap"):
                assert windows <= graph[target["datasource"]["type"]], panel["title"]
            elif panel["type"] == "table":
                assert windows <= {"$__range"}, panel["title"]
            else:
                assert windows <= {"$__rate_interval", "$__range"}, panel["title"]


@each_file
def test_table_queries_the_end_only(file: Path) -> None:
    """A table over Prometheus queries the end of the time range only, a graph the whole range."""
    for panel in panels(load(file)):
        if panel["datasource"]["type"] == "prometheus":
            for target in panel["targets"]:
                table = panel["type"] == "table"
                assert (target["instant"], target["range"]) == (table, not table)
                assert (target["format"] == "table") is table


@each_file
def test_query_names_are_unique_within_a_panel(file: Path) -> None:
    """Every query has a unique name within its panel."""
    for panel in panels(load(file)):
        names = [target["refId"] for target in panel["targets"]]
        assert len(names) == len(set(names)) > 0


@each_file
def test_panel_fits_the_grid(file: Path) -> None:
    """No panel is wider than 24 columns or overlaps another; those of a closed row lie below it."""
    dashboard = load(file)
    closed = [row for row in dashboard["panels"] if row["type"] == "row" and row["collapsed"]]
    for group in (dashboard["panels"], *([row, *row["panels"]] for row in closed)):
        places = [panel["gridPos"] for panel in group]
        assert all(p["x"] >= 0 and p["y"] >= 0 and p["h"] > 0 and p["x"] + p["w"] <= 24 for p in places)
        for a, b in combinations(places, 2):
            beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)


@each_file
def test_thresholds_are_numbers(file: Path) -> None:
    """The first step has no limit, every other one a number, in rising order."""
    for panel in panels(load(file)):
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [{"value": None}])
        limits = [step["value"] for step in steps[1:]]
        assert steps[0]["value"] is None
        assert all(isinstance(limit, (int, float)) for limit in limits)
        assert sorted(limits) == limits


@each_file
def test_dashboard_variable_offers_all_values(file: Path) -> None:
    """*All* is the first choice of each list, as a pattern.

    That of the service cannot be empty, as Loki requires.
    """
    for variable in load(file)["templating"]["list"]:
        assert variable["description"].endswith(".")
        if variable["type"] in ("query", "custom"):
            assert variable["includeAll"]
            assert variable["current"]["value"] == ["$__all"]
            assert variable["allValue"] == (".+" if variable["name"] == "service" else ".*")


@each_file
def test_variable_is_used_as_a_pattern(file: Path) -> None:
    """A variable with several values is used only where a pattern is expected."""
    dashboard = load(file)
    names = "|".join(v["name"] for v in dashboard["templating"]["list"] if v.get("multi"))
    for panel in panels(dashboard):
        for target in panel["targets"]:
            query = target.get("expr") or target["query"]
            pattern = rf'=~ ?"\$({names})"|\("\$({names})" = ".\*"'
            assert len(re.findall(rf"\$({names})\b", query)) == len(re.findall(pattern, query)), query


@each_file
def test_graph_of_durations_links_to_traces(file: Path) -> None:
    """Graphs of durations request exemplars, which link a value to a trace."""
    for panel in panels(load(file)):
        if panel["type"] in ("timeseries", "heatmap") and any("_bucket" in t.get("expr", "") for t in panel["targets"]):
            assert any(target["exemplar"] for target in panel["targets"]), panel["title"]


@each_file
def test_link_leads_into_the_same_grafana(file: Path) -> None:
    """A link names no host; its query is the JSON that Explore expects, with encoded values."""
    text = json.dumps(load(file))
    assert "://" not in text
    for panel in panels(load(file)):
        for prop in (p for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "links"):
            for link in prop["value"]:
                where = urlsplit(link["url"])
                assert where.path == "/explore"
                (pane,) = json.loads(parse_qs(where.query)["panes"][0]).values()
                assert pane["range"] == {"from": "${__from}", "to": "${__to}"}
                for query in pane["queries"]:
                    assert query["datasource"]["uid"] == pane["datasource"] in ("${tempo}", "${loki}")
                    variables = re.findall(r"\$\{?[\w.:]+\}?", query.get("query") or query["expr"])
                    assert variables
                    assert all(re.fullmatch(r"\$\{__data\.fields\.\w+:percentencode\}", v) for v in variables)
