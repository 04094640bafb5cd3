"""All LogQL and TraceQL queries of the bundle parse with the grammars of Grafana's editors.

Their results are tested with a real Loki and Tempo in the rings of these names.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from grafana.queries import queries
from tests.stack.build import ROOT
from tests.stack.query_texts import QueryText, all_queries, faults, in_dashboard

DASHBOARDS = {
    file.name: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
}
LOGQL, TRACEQL = QueryText("planted", "logql", '{a="b"} | c="d"'), QueryText("planted", "traceql", "{ status = error }")
BROKEN = '{service_name="shop"'


def test_queries_of_the_bundle_parse() -> None:
    """No parse tree has an error node; each kind of file contributes queries."""
    found = all_queries()
    assert faults(found) == []
    assert {query.language for query in found} == {"logql", "traceql"}
    for part in (*DASHBOARDS, "security.yaml", "stack.yaml", "datasources.yaml"):
        assert [query for query in found if query.where.startswith(part)], part


def test_queries_with_a_bracket_too_few_or_too_many_are_faults() -> None:
    """Exactly the queries with a missing or additional bracket are reported."""
    found = all_queries()
    for bracket in (")", "}"):
        for broken in (
            [query._replace(text=query.text[: query.text.rindex(bracket)]) for query in found if bracket in query.text],
            [query._replace(text=query.text + bracket) for query in found],
        ):
            assert [query for query, _ in faults([LOGQL, *broken, TRACEQL])] == broken


def test_queries_of_all_panels_are_collected() -> None:
    """Queries of panels to Loki and Tempo, also in collapsed rows, are parsed."""
    for name, dashboard in DASHBOARDS.items():
        asked = {query.expr for query in queries(dashboard) if query.source != "prometheus"}
        assert asked
        assert asked <= {query.text for query in in_dashboard(name, dashboard)}


def test_queries_of_all_explore_links_are_collected() -> None:
    """Each link that opens a query adds one query to those of the panels."""
    text = "".join(map(json.dumps, DASHBOARDS.values()))
    links = text.count("/explore?")
    assert links >= 4
    panels = [query for board in DASHBOARDS.values() for query in queries(board) if query.source != "prometheus"]
    found = [query for name, board in DASHBOARDS.items() for query in in_dashboard(name, board)]
    assert len(found) == len(panels) + links


def _panel(board: dict[str, Any]) -> None:
    board["panels"].append({"title": "p", "targets": [{"datasource": {"type": "loki"}, "expr": BROKEN}]})


def _collapsed_row(board: dict[str, Any]) -> None:
    target = {"datasource": {"type": "tempo"}, "query": BROKEN}
    board["panels"].append({"title": "row", "type": "row", "panels": [{"title": "p", "targets": [target]}]})


def _annotation(board: dict[str, Any]) -> None:
    board["annotations"]["list"].append({"name": "a", "datasource": {"type": "loki"}, "expr": BROKEN})


@pytest.mark.parametrize("plant", [_panel, _collapsed_row, _annotation])
def test_queries_broken_in_panel_row_or_annotation_are_faults(plant: Any) -> None:
    """A panel, a panel in a collapsed row and an annotation."""
    board = json.loads(json.dumps(DASHBOARDS["errors.json"]))
    plant(board)
    ((fault, _),) = faults(in_dashboard("errors.json", board))
    assert fault.text == BROKEN


def test_queries_broken_in_a_link_are_faults() -> None:
    """A missing bracket in a query within the URL of a link is a fault."""
    board = json.loads(json.dumps(DASHBOARDS["errors.json"]).replace("%7Bservice_name", "service_name"))
    assert faults(in_dashboard("errors.json", board))
