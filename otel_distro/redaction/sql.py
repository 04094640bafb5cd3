"""Statements without their literals, for every SQL dialect.

The tokenizer reads each character once. It hides text in single quotes, in dollar quotes and in
comments, and every number. Identifiers stay, also those in double quotes or backticks; in a
position where only a value is possible, a double-quoted text is a literal (MySQL, SQLite).
"""

from __future__ import annotations

import re
from typing import Final

from otel_distro.redaction.literals import lazy
from otel_distro.redaction.table import LITERAL

Span = tuple[int, int, str]
"""Start, end and the replacement of the text between them."""

_START: Final = lazy(
    r"(?P<string>(?:(?<![\w])(?:[nNbBxXeE]|[uU]&))?')"
    r'|(?P<name>"|`)'
    r"|(?P<number>(?<![\w$@:?%])\.?[0-9][\w.]*(?:(?<=[0-9][eE])[+-][0-9]+)?)"
    r"|(?P<dollar>(?<![\w$])\$(?:[A-Za-z_]\w{0,62})?\$)"
    r"|(?P<line>--)|(?P<block>/\*)"
)
_QUICK: Final = lazy(r"['\"0-9]|--|/\*|\$\$|\$[A-Za-z_]")
_QUOTE: Final = lazy(r"['\\]")
_BEFORE_VALUE: Final = (
    *("=", "<", ">", "~", "like", "rlike", "regexp", "in (", "in(", "values (", "values(", "then", "else", "between"),
    "concat(",
)
_VALUES: Final = lazy(r"\b(?:values|in)\s{0,8}\(", re.IGNORECASE)
_IN_LIST: Final = lazy(r"\b(in\s{0,8})\(\s{0,8}\?(?:\s{0,8},\s{0,8}\?)+\s{0,8}\)", re.IGNORECASE)
_REACH: Final = 32


def obfuscate(statement: str) -> str:
    """Return the statement with a question mark for each literal.

    Lists of literals after ``IN`` become one. A comment keeps its delimiters only. The same object
    is returned where the statement has no literal.
    """
    spans = literals(statement)
    if not spans:
        return statement
    return _IN_LIST.sub(r"\1(?)", replaced(statement, spans))


def replaced(text: str, spans: list[Span]) -> str:
    """Return ``text`` with each span replaced; spans are in order and do not overlap."""
    parts: list[str] = []
    at = 0
    for start, end, instead in spans:
        parts += (text[at:start], instead)
        at = end
    parts.append(text[at:])
    return "".join(parts)


def literals(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Return the positions of literals and comments in the statement ``text[start:end]``.

    Whether a backslash escapes a quote depends on the dialect, so both readings are tried. If one
    of them leaves a string open, the other one is used. If both close every string, a literal of
    either is hidden. If both leave one open, everything from the first such string on is hidden.
    """
    stop = len(text) if end is None else end
    if not _QUICK.search(text, start, stop):
        return []
    found = _Scan(text, start, stop, escapes=True)
    if found.first_escape < 0:
        return found.spans
    plain = _Scan(text, start, stop, escapes=False)
    if found.open and plain.open:
        before = [span for span in found.spans if span[1] <= found.first_escape]
        return [*before, (found.first_escape, stop, LITERAL)]
    if found.open or plain.open:
        return plain.spans if found.open else found.spans
    return _united(sorted(found.spans + plain.spans))


def _united(spans: list[Span]) -> list[Span]:
    result = spans[:1]
    for begin, end, instead in spans[1:]:
        last = result[-1]
        if begin >= last[1]:
            result.append((begin, end, instead))
        elif (begin, end, instead) != last:
            result[-1] = (last[0], max(end, last[1]), LITERAL)
    return result


class _Scan:
    """One pass over a statement.

    ``open``: its last string has no end. ``first_escape``: where the first string with a backslash
    before a quote starts, -1 without one.
    """

    def __init__(self, text: str, start: int, stop: int, *, escapes: bool) -> None:
        self.spans: list[Span] = []
        self.open = False
        self.first_escape = -1
        self._text = text
        self._start = start
        self._stop = stop
        self._escapes = escapes
        self._values_from = -1
        at = start
        while token := _START.search(text, at, stop):
            at = self._take(token)

    def _take(self, token: re.Match[str]) -> int:
        begin, end = token.span()
        kind = token.lastgroup
        if kind == "number":
            return self._hide(begin, end, LITERAL)
        if kind == "string":
            return self._hide(begin, self._end_of_string(begin, end), LITERAL)
        if kind == "dollar":
            close = self._text.find(token.group(), end, self._stop)
            return self._hide(begin, self._stop if close < 0 else close + len(token.group()), LITERAL)
        if kind == "line":
            close = self._text.find("\n", end, self._stop)
            return self._hide(begin, self._stop if close < 0 else close, "--")
        if kind == "block":
            close = self._text.find("*/", end, self._stop)
            return self._hide(begin, self._stop if close < 0 else close + 2, "/**/")
        return self._name(begin, end, token.group())

    def _hide(self, begin: int, end: int, replacement: str) -> int:
        if self._text[begin:end] != replacement:
            self.spans.append((begin, end, replacement))
        return end

    def _end_of_string(self, begin: int, at: int) -> int:
        while found := _QUOTE.search(self._text, at, self._stop):
            at = found.end()
            following = self._text[at : at + 1] if at < self._stop else ""
            if found.group() == "\\":
                if following == "'" and self.first_escape < 0:
                    self.first_escape = begin
                if self._escapes:
                    at += 1
            elif following == "'":
                at += 1
            elif not (following.isalnum() and self._text[at - 2] == "\\"):
                # A value never directly follows another one: the string continues. `'it\\'s'` comes
                # from a `repr`, which doubles backslashes.
                return at
        self.open = True
        return self._stop

    def _name(self, begin: int, end: int, quote: str) -> int:
        close = self._text.find(quote, end, self._stop)
        if close < 0 or "'" in self._text[end:close]:
            # An odd quote, or one around a statement that is quoted in source code.
            return end
        end = close + 1
        if quote == '"' and self._is_value(begin, end):
            self._hide(begin, end, LITERAL)
        return end

    def _is_value(self, begin: int, end: int) -> bool:
        """Return whether a value is required here, not a column (``ON "a"."id" = "b"."a_id"``)."""
        if self._text[end : end + 1] == ".":
            return False
        before = self._text[max(begin - _REACH, 0) : begin].rstrip().lower()
        if before.endswith(_BEFORE_VALUE):
            return True
        if not before.endswith(("(", ",")):
            return False
        if self._values_from < 0:
            found = _VALUES.search(self._text, self._start, self._stop)
            self._values_from = found.end() if found else self._stop
        return self._values_from <= begin
