"""All LogQL and TraceQL queries of the bundle, and a check by the grammars of Grafana's editors.

Queries are in the dashboards (targets, annotations, links to Explore), in the rules and runbooks of
Loki and Prometheus, and in the data source's links from traces to logs.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import yaml

from grafana.queries import MACROS, substitute
from tests.stack.build import ROOT, locate

LANGUAGES = {"loki": "logql", "tempo": "traceql"}
_FIELD = re.compile(r"\$\{__(?:data|span|trace)[^}]*\}")
_LABEL = re.compile(r"\{\{[^}]*\}\}")
_LOGQL_IN_TEXT = re.compile(r"\{\w+ ?(?:=|!=|=~|!~) ?\".*")


class QueryText(NamedTuple):
    """A query with all variables replaced, and the place where it was found."""

    where: str
    language: str
    text: str


def all_queries() -> list[QueryText]:
    """Return every LogQL and TraceQL query of the bundle."""
    found = []
    for file in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        found += in_dashboard(file.name, json.loads(file.read_text(encoding="utf-8")))
    for file in sorted((ROOT / "backends" / "loki_rules").rglob("*.yaml")):
        found += in_rules(file.name, yaml.safe_load(file.read_text(encoding="utf-8")), expressions=True)
    for file in sorted((ROOT / "backends" / "rules").glob("*.yaml")):
        found += in_rules(file.name, yaml.safe_load(file.read_text(encoding="utf-8")), expressions=False)
    file = ROOT / "grafana" / "provisioning" / "datasources" / "datasources.yaml"
    return found + list(in_data_sources(file.name, yaml.safe_load(file.read_text(encoding="utf-8"))))


def in_dashboard(where: str, dashboard: dict[str, Any]) -> list[QueryText]:
    """Return the queries of a dashboard.

    Raises:
        KeyError: A query uses a variable that the dashboard does not declare.
    """
    declared = {v["name"]: v.get("allValue") or v["current"]["value"] for v in dashboard["templating"]["list"]}
    known = {**MACROS, "__from": "now-1h", "__to": "now", **declared}
    return list(_in_json(where, dashboard, known))


def _in_json(where: str, node: Any, known: dict[str, str]) -> Iterator[QueryText]:
    if isinstance(node, dict):
        where = f"{where}: {node['title']}" if isinstance(node.get("title"), str) else where
        source = node.get("datasource")
        language = LANGUAGES.get(source.get("type", "")) if isinstance(source, dict) else None
        text = node.get("expr") or node.get("query")
        if language and isinstance(text, str) and "type" not in node:
            yield QueryText(where, language, substitute(_FIELD.sub("x", text), known))
        for value in node.values():
            yield from _in_json(where, value, known)
    elif isinstance(node, list):
        for value in node:
            yield from _in_json(where, value, known)
    elif isinstance(node, str) and node.startswith("/explore?"):
        (panes,) = parse_qs(urlsplit(substitute(_FIELD.sub("x", node), known)).query)["panes"]
        yield from _in_json(where, json.loads(panes), known)


def in_rules(where: str, rules: dict[str, Any], *, expressions: bool) -> Iterator[QueryText]:
    """Yield the queries in the runbooks and, with ``expressions``, those of the rules."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            name = f"{where}: {rule.get('alert') or rule.get('record')}"
            if expressions:
                yield QueryText(name, "logql", rule["expr"])
            for text in rule.get("annotations", {}).values():
                if named := _LOGQL_IN_TEXT.search(_LABEL.sub("x", text)):
                    yield QueryText(name, "logql", named.group())


def in_data_sources(where: str, sources: dict[str, Any]) -> Iterator[QueryText]:
    """Yield the queries of the links from traces to logs; ``$$`` stands for ``$`` in that file."""
    for source in sources["datasources"]:
        link = source.get("jsonData", {}).get("tracesToLogsV2", {})
        if query := link.get("query"):
            yield QueryText(f"{where}: {source['name']}", "logql", _FIELD.sub("x", query.replace("$$", "$")))


def faults(queries: Iterable[QueryText]) -> list[tuple[QueryText, list[dict[str, Any]]]]:
    """Return the queries that do not parse, each with the positions of the errors."""
    asked = list(queries)
    request = json.dumps([{"language": query.language, "query": query.text} for query in asked])
    done = subprocess.run(
        ["node", str(locate("parse.js"))], check=False, input=request, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [(query, found) for query, found in zip(asked, json.loads(done.stdout), strict=True) if found]
