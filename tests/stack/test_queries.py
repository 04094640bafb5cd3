"""Every LogQL and TraceQL query of the bundle is read by the grammars of Grafana's editors.

Whether a query also finds what it should is asked of a real Loki and Tempo in the rings of that name.
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


def test_every_query_is_read_without_a_fault() -> None:
    """The parse tree of each has no error node; there are queries of both languages in each kind of file."""
    found = all_queries()
    assert faults(found) == []
    assert {query.language for query in found} == {"logql", "traceql"}
    for part in (*DASHBOARDS, "security.yaml", "stack.yaml", "datasources.yaml"):
        assert [query for query in found if query.where.startswith(part)], part


def test_every_broken_query_is_a_fault() -> None:
    """Each real query that lost its last bracket, or has one too many, is reported, and no other beside it."""
    found = all_queries()
    for bracket in (")", "}"):
        for broken in (
            [query._replace(text=query.text[: query.text.rindex(bracket)]) for query in found if bracket in query.text],
            [query._replace(text=query.text + bracket) for query in found],
        ):
            assert [query for query, _ in faults([LOGQL, *broken, TRACEQL])] == broken


def test_every_query_of_a_panel_is_found() -> None:
    """What panels ask Loki and Tempo for, also those in closed rows, is among the queries that are parsed."""
    for name, dashboard in DASHBOARDS.items():
        asked = {query.expr for query in queries(dashboard) if query.source != "prometheus"}
        assert asked
        assert asked <= {query.text for query in in_dashboard(name, dashboard)}


def test_every_link_to_explore_is_found() -> None:
    """Each link that opens a query of Loki or Tempo gives one query more than the panels have."""
    text = "".join(map(json.dumps, DASHBOARDS.values()))
    links = text.count("/explore?")
    assert links >= 4
    panels = [query for board in DASHBOARDS.values() for query in queries(board) if query.source != "prometheus"]
    found = [query for name, board in DASHBOARDS.items() for query in in_dashboard(name, board)]
    assert len(found) == len(panels) + links


def _panel(board: dict[str, Any]) -> None:
    board["panels"].append({"title": "p", "targets": [{"datasource": {"type": "loki"}, "expr": BROKEN}]})


def _closed_row(board: dict[str, Any]) -> None:
    target = {"datasource": {"type": "tempo"}, "query": BROKEN}
    board["panels"].append({"title": "row", "type": "row", "panels": [{"title": "p", "targets": [target]}]})


def _annotation(board: dict[str, Any]) -> None:
    board["annotations"]["list"].append({"name": "a", "datasource": {"type": "loki"}, "expr": BROKEN})


@pytest.mark.parametrize("plant", [_panel, _closed_row, _annotation])
def test_broken_query_is_found_wherever_it_stands(plant: Any) -> None:
    """A panel, a panel in a closed row and an annotation."""
    board = json.loads(json.dumps(DASHBOARDS["errors.json"]))
    plant(board)
    ((fault, _),) = faults(in_dashboard("errors.json", board))
    assert fault.text == BROKEN


def test_broken_query_of_a_link_is_found() -> None:
    """A bracket that is missing in a query within the address of a link is a fault."""
    board = json.loads(json.dumps(DASHBOARDS["errors.json"]).replace("%7Bservice_name", "service_name"))
    assert faults(in_dashboard("errors.json", board))
