"""Expressions: for one of many literals, compiled when they are used, and asked for the next match."""

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
        # From now on these are found before this method is asked.
        for method in ("search", "match", "fullmatch", "finditer", "split", "sub"):
            setattr(self, method, getattr(pattern, method))
        return getattr(pattern, name)


def lazy(expression: str, flags: int = 0) -> re.Pattern[str]:
    """Return an expression that is compiled at its first use: that takes long, and most programs need few of them."""
    return cast("re.Pattern[str]", _Lazy(expression, flags))


def any_of(literals: Iterable[str]) -> str:
    """Return an expression for any of the literals that branches letter by letter, which :mod:`re` is quickest at."""
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
    """Return a function that tells where the next match begins, at or after a position; ``sys.maxsize`` when nowhere.

    Asked with growing positions, all calls together read the text once.
    """
    position = -1

    def next_match(at: int) -> int:
        nonlocal position
        if position < at:
            found = pattern.search(text, at)
            position = found.start() if found else sys.maxsize
        return position

    return next_match
