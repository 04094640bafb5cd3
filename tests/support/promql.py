"""Checks that every name in a PromQL expression is declared."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as p

from tests.support.grafana_names import ATTRIBUTES, SERIES


def faults(expression: str) -> Iterator[str]:
    """Yield the problems of the names in ``expression``.

    Raises:
        ValueError: The expression is not PromQL.
    """
    parsed = p.parse(expression)
    for selector in _selectors(parsed):
        name = str(selector.name or "")
        if name not in SERIES:
            yield f"no such series: {name}"
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in SERIES[name][1]:
                yield f"{name} has no label {matcher.name}"
            attribute = ATTRIBUTES.get(matcher.name)
            exact = matcher.op in (p.MatchOp.Equal, p.MatchOp.NotEqual)
            if attribute and attribute.values and exact and matcher.value not in ("", *attribute.values):
                yield f"{matcher.name} is never {matcher.value}"
    for node, labels in _groupings(parsed):
        known = set[str]().union(*(SERIES[str(s.name)][1] for s in _selectors(node) if str(s.name) in SERIES))
        for label in labels:
            if label not in known:
                yield f"no series under it has the label {label}: {node.prettify()}"


def bare_counters(expression: str) -> list[str]:
    """Return the counters and histograms whose plain value, not growth, ``expression`` uses."""
    inside: list[str] = []
    bare: list[str] = []

    def enter(node: p.Expr) -> None:
        if isinstance(node, p.Call):
            inside.append(node.func.name)
        elif isinstance(node, p.VectorSelector):
            metric = SERIES[str(node.name)][0]
            if metric.instrument in ("counter", "histogram") and not {"rate", "increase"} & set(inside[-1:]):
                bare.append(str(node.name))

    def leave(node: p.Expr) -> None:
        if isinstance(node, p.Call):
            inside.pop()

    p.walk(p.parse(expression), enter, leave)
    return bare


def _selectors(node: p.Expr) -> list[p.VectorSelector]:
    found: list[p.VectorSelector] = []
    p.walk(node, lambda n: found.append(n) if isinstance(n, p.VectorSelector) else None)
    return found


def _groupings(node: p.Expr) -> list[tuple[p.Expr, list[str]]]:
    found: list[tuple[p.Expr, list[str]]] = []

    def enter(n: p.Expr) -> None:
        if isinstance(n, p.AggregateExpr) and n.modifier:
            found.append((n.expr, n.modifier.labels))
        elif isinstance(n, p.BinaryExpr) and n.modifier:
            matching = n.modifier.matching
            found.extend((side, matching.labels) for side in (n.lhs, n.rhs) if matching)
            found.append((n.rhs, n.modifier.group_labels or []))

    p.walk(node, enter)
    return found
