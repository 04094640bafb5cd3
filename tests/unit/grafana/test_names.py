"""A dashboard uses only declared names: a renamed metric fails a test instead of a panel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.collector_names import DETECTED_LEVEL, EVENT_NAME, PROMOTED, SPAN_CALLS, SPAN_DURATION
from grafana.queries import Query, queries, variable_queries
from otel_distro import schema
from tests.support.grafana_names import FILES, GRAFANA, load
from tests.support.promql import bare_counters, faults

MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
LINE_ATTRIBUTES = {attribute.label for attribute in (*schema.attributes(), DETECTED_LEVEL, EVENT_NAME)}


def of(source: str) -> list[Any]:
    """Return every query of every dashboard to this type of source, as pytest parameters."""
    found = [(q, file.stem) for file in FILES for q in queries(load(file)) if q.source == source]
    return [pytest.param(q, id=f"{stem}-{q.panel}-{i}") for i, (q, stem) in enumerate(found)]


@pytest.mark.parametrize("query", of("prometheus"))
def test_promql_names_exist(query: Query) -> None:
    """Each expression parses; each series, label, grouping and closed value in it is declared."""
    assert not list(faults(query.expr))


@pytest.mark.parametrize("query", of("prometheus"))
def test_promql_uses_only_growth_of_counters(query: Query) -> None:
    """A counter restarts at zero with each process, so only its growth is used."""
    assert bare_counters(query.expr) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("job_runs_total", "no such series: job_runs_total"),
        ('rate(python_exceptions_total{error_type="x"}[5m])', "python_exceptions_total has no label error_type"),
        ('traces_spanmetrics_calls_total{instance="a"}', "traces_spanmetrics_calls_total has no label instance"),
        ('traces_spanmetrics_calls_total{status_code="ERROR"}', "status_code is never ERROR"),
        ("sum by (route) (http_server_active_requests)", "no series under it has the label route"),
    ],
)
def test_promql_check_finds_an_undeclared_name(expression: str, fault: str) -> None:
    """The check above finds a wrong series, label, grouping and value."""
    found = list(faults(expression))
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_promql_check_finds_a_bare_counter() -> None:
    """The check above finds a counter outside of a rate, and only that."""
    assert bare_counters("sum(process_cpu_time_seconds_total) + sum(process_thread_count)") == [
        "process_cpu_time_seconds_total"
    ]
    assert bare_counters("abs(rate(process_cpu_time_seconds_total[5m]))") == []


@pytest.mark.parametrize("query", of("loki"))
def test_logql_names_exist(query: Query) -> None:
    """A stream is selected by its three labels, one of them not empty; a line by attributes."""
    selector, _, rest = query.expr.partition("}")
    assert {attribute.label for attribute in PROMOTED} == set(MATCHER.findall(selector))
    assert f'{schema.SERVICE_NAME.label}=~".+"' in selector
    assert set(MATCHER.findall(rest)) <= LINE_ATTRIBUTES


@pytest.mark.parametrize("query", of("tempo"))
def test_traceql_requests_the_newest(query: Query) -> None:
    """Searches ask for the newest traces; without that, Tempo returns any matching ones.

    Attributes that a service may lack are not used: a comparison with an absent one is false.
    """
    assert query.expr.endswith("} with (most_recent=true)")
    for attribute in (schema.DEPLOYMENT_ENVIRONMENT, schema.SERVICE_NAMESPACE):
        assert attribute.name not in query.expr


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_variables_read_existing_labels(file: Path) -> None:
    """A variable reads a label of its series, or without one, a label of every service."""
    for query in variable_queries(load(file)):
        known = {attribute.label for attribute in PROMOTED} | {"instance"}
        if not query.selector.startswith("{"):
            assert not list(faults(f"sum by ({query.label}) ({query.selector})"))
        else:
            assert query.label in known
            assert set(MATCHER.findall(query.selector)) <= known


def test_links_from_traces_use_declared_metrics() -> None:
    """The queries that Grafana offers on a span use declared metrics and labels."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/datasources.yaml").read_text(encoding="utf-8"))
    tempo = next(s["jsonData"] for s in sources["datasources"] if s["type"] == "tempo")
    tags = ", ".join(f'{tag["value"]}="x"' for tag in tempo["tracesToMetrics"]["tags"])
    for query in tempo["tracesToMetrics"]["queries"]:
        expression = query["query"].replace("$$__tags", tags)
        assert not list(faults(expression))
        assert bare_counters(expression) == []


def test_span_metrics_have_the_names_of_the_collector() -> None:
    """The Collector's configuration produces the span metrics under the names of the dashboards."""
    config = yaml.safe_load((GRAFANA.parent / "collector/config.yaml").read_text(encoding="utf-8"))
    made = config["connectors"]["span_metrics"]
    assert f"{made['namespace']}.calls" == SPAN_CALLS.name
    assert made["histogram"]["unit"] == "s"
    renamed = config["processors"]["transform/derived"]["metric_statements"][1]
    assert [f'metric.name == "{made["namespace"]}.duration"'] == renamed["conditions"]
    assert [f'set(metric.name, "{SPAN_DURATION.name}")', 'set(metric.unit, "")'] == renamed["statements"]
