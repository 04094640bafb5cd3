"""The alerts of Loki, and their evaluation on log lines of another store.

All rules have the form that :func:`evaluate` parses: count the lines of the last minutes that meet
some conditions, by some labels, and fire above a number.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import yaml

from tests.stack.programs import BACKENDS
from tests.stack.stores import Line

ALERTS: Final[dict[str, str]] = {
    rule["alert"]: rule["expr"]
    for file in sorted((BACKENDS / "loki_rules").rglob("*.yaml"))
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
_RULE: Final = re.compile(
    r"sum by \((?P<labels>[\w, ]+)\) \(\s*count_over_time\(\{service_name=~\"\.\+\"\}"
    r"(?P<conditions>(?: \| \w+ ?(?:=~|!=|=|>=) ?(?:\"[^\"]*\"|\d+))+) \[5m\]\)\s*\) > (?P<number>\d+)\s*"
)
_CONDITION: Final = re.compile(r" \| (\w+) ?(=~|!=|=|>=) ?(?:\"([^\"]*)\"|(\d+))")
_COMPARE: Final[dict[str, Callable[[str, str], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    ">=": lambda value, number: int(value or 0) >= int(number),
}


def evaluate(rule: str, lines: Iterable[Line]) -> list[dict[str, str]]:
    """Return the label sets for which a rule fires on these lines.

    Raises:
        ValueError: The rule does not have the known form.
    """
    form = _RULE.fullmatch(rule)
    if form is None:
        raise ValueError(f"the rule does not have the known form: {rule}")
    conditions = _CONDITION.findall(form["conditions"])
    counted: Counter[tuple[tuple[str, str], ...]] = Counter()
    for labels, _ in lines:
        if all(_COMPARE[sign](labels.get(name, ""), text or number) for name, sign, text, number in conditions):
            counted[tuple((name, labels.get(name, "")) for name in form["labels"].split(", "))] += 1
    return [dict(labels) for labels, number in counted.items() if number > int(form["number"])]
