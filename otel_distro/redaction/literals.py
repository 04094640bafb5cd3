"""Helpers for regular expressions: lazy compilation, sets of literals, the next match."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class _Lazy:
    def __init__(self, expression: str, flags: int) -> None:
        self._expression = expression
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        pattern = re.compile(self._expression, self._flags)
        # Shadow __getattr__, so that it runs once per expression.
        for method in ("search", "match", "fullmatch", "finditer", "split", "sub"):
            setattr(self, method, getattr(pattern, method))
        return getattr(pattern, name)


def lazy(expression: str, flags: int = 0) -> re.Pattern[str]:
    """Return an expression that is compiled at its first use.

    Compilation takes long, and most programs need few of the expressions.
    """
    return cast("re.Pattern[str]", _Lazy(expression, flags))


def any_of(literals: Iterable[str]) -> str:
    """Return an expression that matches any of the literals.

    It branches letter by letter, the form that :mod:`re` runs fastest.
    """
    tree: dict[str, object] = {}
    for literal in literals:
        node = tree
        for letter in literal:
            node = node.setdefault(letter, {})  # type: ignore[assignment]
        node[""] = {}
    return _branches(tree)


def _branches(tree: dict[str, object]) -> str:
    if "" in tree:
        return ""
    parts = [re.escape(letter) + _branches(rest) for letter, rest in sorted(tree.items())]  # type: ignore[arg-type]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def ahead(pattern: re.Pattern[str], text: str) -> Callable[[int], int]:
    """Return a function that gives the position of the next match.

    The match begins at or after the position passed to it; ``sys.maxsize`` means that there is no
    further match. With growing positions, all calls together read the text once.
    """
    position = -1

    def next_match(at: int) -> int:
        nonlocal position
        if position < at:
            found = pattern.search(text, at)
            position = found.start() if found else sys.maxsize
        return position

    return next_match
