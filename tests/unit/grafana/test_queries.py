"""The queries of a dashboard can be run without Grafana."""

from __future__ import annotations

import pytest

from grafana.boards.service_overview import dashboard
from grafana.queries import Query, panels, queries, substitute, variable_queries

BOARD = dashboard()


def test_queries_cover_every_panel() -> None:
    """Panels in closed rows are included; a panel with several queries gives each."""
    found = queries(BOARD)
    assert {panel["title"] for panel in panels(BOARD)} == {query.panel for query in found}
    assert sum(len(panel["targets"]) for panel in panels(BOARD)) == len(found)
    assert {"prometheus", "loki", "tempo"} == {query.source for query in found}
    assert "Host load" in {query.panel for query in found}


def test_queries_have_no_variables_left() -> None:
    """No variable and no macro remains in a query."""
    assert not [query for query in queries(BOARD) if "$" in query.expr]
    assert not [query for query in variable_queries(BOARD) if "$" in query.selector]


def test_queries_use_given_values() -> None:
    """A given variable or macro is used, the others have the value All."""
    values = {"service": "shop", "environment": "dev", "__rate_interval": "5m"}
    expected = Query(
        "Requests",
        "prometheus",
        'sum(rate(http_server_request_duration_seconds_count{deployment_environment_name=~"dev", '
        'service_namespace=~".*", service_name=~"shop", instance=~".*"}[5m]))',
    )
    assert expected in queries(BOARD, values)


def test_variable_queries_narrow_each_other() -> None:
    """The values of the service are limited to the chosen environment and namespace."""
    found = {query.variable: query for query in variable_queries(BOARD, {"environment": "dev"})}
    selector = '{service_name!="", deployment_environment_name=~"dev", service_namespace=~".*"}'
    assert ("service", selector, "service_name") == found["service"]
    assert found["host"].selector == 'target_info{deployment_environment_name=~"dev"}'


def test_queries_with_unknown_variable_raise() -> None:
    """A misspelt variable is an error, in the values as in the query."""
    with pytest.raises(KeyError, match="servise"):
        queries(BOARD, {"servise": "shop"})
    with pytest.raises(KeyError, match="instanse"):
        substitute("up{instance=~'$instanse'}", {"instance": "a"})


def test_replace_accepts_every_spelling_of_a_variable() -> None:
    """Grafana accepts $name, ${name} and ${name:format}."""
    assert substitute("$x ${x} ${x:pipe}", {"x": "a"}) == "a a a"
