"""Secrets in running text.

Running text: log lines, messages and stack traces, span names, URLs, statements, command lines. A
few searches for literals decide whether a text needs a closer look; most need none. Each closer
look reads the text once: expressions are anchored at a literal and bounded, or consist of runs that
exclude the character after them.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_distro.redaction import command, numbers, sql, table, values
from otel_distro.redaction.literals import ahead, any_of, lazy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otel_distro.redaction.keys import Keys


class Finding(NamedTuple):
    """A secret in a text: its position, its kind and its replacement."""

    start: int
    end: int
    kind: str
    replacement: str = table.MASK


_STARTS: Final = re.compile(any_of(("://", "eyJ", "-----BEGIN", *table.TOKENS, *table.WEBHOOKS)))
_PAIRING: Final = re.compile(r"[=:'\"(<%]")
_USERINFO: Final = lazy(
    r"://(?:(?P<all>[^\s/?#\"'<>]{1,512})@|(?P<odd>[^\s/?#:@\[\"'<>]{0,64}:(?![0-9]{1,5}(?:[/?#\s]|$))[^\s@\"'<>]{1,128})@(?=[\w\[]))"
)
_JWT: Final = lazy(r"[\w-]+(?:\.[\w-]+){0,4}", re.ASCII)
_PRIVATE_KEY: Final = lazy(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_AWS_SECRET: Final = lazy(
    r"(?<![A-Za-z0-9/+=])(?=[^0-9]{0,39}[0-9])(?=[^a-z]{0,39}[a-z])(?=[^A-Z]{0,39}[A-Z])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
)
_CREDENTIALS: Final = lazy(r"b(?:earer|(asic))[ \t]{1,4}([\w.~+/-]{6,}=*)", re.ASCII)
_STATEMENT: Final = lazy(
    r"(?P<sure>(?:insert|replace)\s{1,8}into\s{1,8}[^\s(]{1,128}\s{0,8}(?:\(|values\b|value\b|select\b|set\b|as\s)"
    r"|merge\s{1,8}into\s{1,8}[^\s]{1,128}\s{1,8}(?:\w{1,64}\s{1,8}){0,2}using\s"
    r"|delete\s{1,8}from\s{1,8}[^\s]{1,128}\s{1,8}(?:\w{1,64}\s{1,8}){0,2}(?:where|using)\s"
    r"|update\s{1,8}[^\s]{1,128}\s{1,8}(?:\w{1,64}\s{1,8}){0,2}set\s{1,8}[^\s=]{1,128}\s{0,8}="
    r"|(?:create|alter)\s{1,8}(?:user|role|login|database)\s)|select\s"
)
_UPPER_FROM: Final = lazy(r"\sFROM\s")
_FROM: Final = lazy(r"\sfrom\s", re.IGNORECASE)
_WHERE: Final = lazy(r"\swhere\s", re.IGNORECASE)
_LINE_END: Final = lazy(r"\n")
_PARAMETERS: Final = lazy(r"\]?\s{0,2}\[parameters: ")
_BEFORE_RAW: Final = lazy(r"\s*(?:\([0-9.]+\)\s{0,4})?")
_BEFORE_SELECT: Final = lazy(r"(?:\[SQL: |LINE [0-9]{1,6}: |[\"'(])$")
_EMAIL_HOST: Final = lazy(r"@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_KEY_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_EMAIL_LETTERS: Final = _KEY_LETTERS + "+%"
_MIN_JWT_HEADER: Final = 10
_MAX_KEY_LENGTH: Final = 64


@functools.cache
def _shape(begin: str) -> re.Pattern[str]:
    # Most programs meet none of these: each is compiled when its beginning is found.
    return re.compile(table.TOKENS.get(begin) or table.WEBHOOKS[begin], re.ASCII)


class Text:
    """Finds secrets in texts, by keys, by shapes and by the user's own expressions."""

    def __init__(
        self, keys: Keys, triggers: Sequence[str] = (), patterns: Sequence[re.Pattern[str]] = (), *, email: bool = False
    ) -> None:
        self._keys = keys
        self._patterns = patterns
        self._email = email
        self._triggers = (*table.TEXT_TRIGGERS, *triggers)
        self._pair = re.compile(
            any_of(self._triggers)
            + r"[\w.-]{0,64}(?: (?:id|code|number|value))?(?P<closed>(?:\]|%5d)?(?:\\{0,3}[\"'`])?)[ \t]{0,4}"
            r"(?P<separator>=>|[:=!]?=|:(?!//|:)|,|>|%3d|(?<=[ \t])(?=[\"']))[ \t]{0,4}",
            re.ASCII,
        )

    def find(self, text: str) -> list[Finding]:
        """Return every secret in ``text``, in order and without overlaps."""
        found: list[Finding] = []
        lower = lowered(text)
        if _PAIRING.search(text):
            self._by_words(text, lower, found)
        if "bearer" in lower or "basic" in lower:
            found.extend(_credentials(text, lower))
        if _STARTS.search(text):
            _by_shape(text, found)
        if text.startswith("-") or " -" in text or "'-" in text or '"-' in text:
            found.extend(Finding(*place, "argument") for place in command.in_text(text, self._keys))
        if numbers.CANDIDATE.search(text):
            found.extend(Finding(*number) for number in numbers.find_numbers(text))
        for pattern in self._patterns:
            found.extend(_by_pattern(text, pattern))
        if self._email and "@" in text:
            found.extend(_emails(text))
        return merged(found) if len(found) > 1 else found

    def _by_words(self, text: str, lower: str, found: list[Finding]) -> None:
        # One search per word is faster than one expression for all.
        words = [word for word in self._triggers if word in lower]
        if words:
            found.extend(self._pairs(text, lower, places(words, lower)))
        if any(word in lower for word in table.STATEMENT_TRIGGERS):
            found.extend(_literals(text, lower))
        if any(word in lower for word in table.DATABASE_TRIGGERS):
            found.extend(_from_databases(text))

    def _pairs(self, text: str, lower: str, begins: Iterable[int]) -> Iterator[Finding]:
        at = 0
        for begin in begins:
            pair = self._pair.match(lower, begin) if begin >= at else None
            if pair is None:
                continue
            at = pair.end()
            closed, separator = pair["closed"], pair["separator"]
            end = pair.start("closed")
            head = text[max(pair.start() - _MAX_KEY_LENGTH, 0) : pair.start()]
            start = pair.start() - len(head) + len(head.rstrip(_KEY_LETTERS))
            if text[start : start + 1] in "nrt" and text[max(start - 1, 0) : start] == "\\":
                # The end of a line as JSON and `repr` write it.
                start += 1
            if text[max(start - 1, 0) : start] == "%":
                # A bracket, percent-encoded as in URLs: `user%5Bpassword%5D=`.
                start += 2
            key = text[start:end]
            if key.lower() == "key":
                # `api key: x`, as people write it.
                head = text[max(start - _MAX_KEY_LENGTH, 0) : start].rstrip(" ")
                key = f"{head[len(head.rstrip(_KEY_LETTERS)) :]} {key}"
            key_class = self._keys.classify(key)
            if (
                not key_class
                and text[max(start - 1, 0) : start] in ("?", "&")
                and key.lower() in table.QUERY_OPAQUE_KEYS
            ):
                key_class = "opaque"
            if not key_class or not _pairs_up(text, start, at, closed, separator, key_class):
                continue
            place = values.value_span(text, at, key, key_class, separator)
            if place:
                yield Finding(*place, "key")
                at = max(at, place[1])


def _pairs_up(text: str, start: int, at: int, closed: str, separator: str, key_class: str) -> bool:
    """Return whether the separator makes a pair of key and value here."""
    if separator == ">":
        return text[max(start - 1, 0) : start] == "<"
    if separator == ",":
        # Header lists are pairs in parentheses, `(b"cookie", b"...")`; in a list of arguments the
        # option precedes its value.
        before = text[max(start - 3, 0) : start]
        listed = text[start : start + 1] == "-" or (key_class == "header" and "(" in before)
        return closed != "" and listed and text[at : at + 1] in ("'", '"', "b")
    if separator == "":
        return key_class == "password" and closed == ""
    return not (separator == ":" and text[max(start - 1, 0) : start] == "/" and text[at : at + 1] == "/")


def places(words: Iterable[str], text: str) -> list[int]:
    """Return the positions of all words in the text, in order."""
    found = []
    for word in words:
        at = text.find(word)
        while at >= 0:
            found.append(at)
            at = text.find(word, at + 1)
    found.sort()
    return found


def lowered(text: str) -> str:
    """Return ``text`` in lower case with every character at its position."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text.replace("\u0130", "i").lower()


def merged(found: list[Finding]) -> list[Finding]:
    """Return the findings in order; overlapping ones are merged into one."""
    found.sort(key=lambda finding: (finding.start, -finding.end))
    result = found[:1]
    for finding in found[1:]:
        last = result[-1]
        if finding.start >= last.end:
            result.append(finding)
        elif finding.end > last.end:
            result[-1] = last._replace(end=finding.end, replacement=table.MASK)
    return result


def _by_shape(text: str, found: list[Finding]) -> None:
    hidden = looked_at = 0
    aws = False
    for begin in _STARTS.finditer(text):
        literal, at = begin.group(), begin.start()
        if at < hidden:
            continue
        if literal == "://":
            found.extend(_userinfo(text, at))
        elif literal == "eyJ":
            if at >= looked_at and (run := _JWT.match(text, at)):
                looked_at = run.end()
                if run.group().find(".") >= _MIN_JWT_HEADER:
                    hidden = run.end()
                    found.append(Finding(at, hidden, "jwt"))
        elif literal == "-----BEGIN":
            if _PRIVATE_KEY.match(text, at):
                hidden = _end_of_key(text, at)
                found.append(Finding(at, hidden, "private_key"))
        elif token := _shape(literal).match(text, at):
            aws = aws or literal in ("AKIA", "ASIA")
            hidden = token.end()
            found.append(Finding(*token.span(token.lastindex or 0), "webhook" if token.lastindex else "token"))
    if aws:
        found.extend(Finding(*secret.span(), "token") for secret in _AWS_SECRET.finditer(text))


def _end_of_key(text: str, at: int) -> int:
    end = text.find("-----END", at)
    if end < 0:
        return len(text)
    close = text.find("-----", end + 8)
    return len(text) if close < 0 else close + 5


def _userinfo(text: str, at: int) -> Iterator[Finding]:
    found = _USERINFO.match(text, at)
    if found is None:
        return
    name = found.lastgroup or ""
    user, _, password = found[name].partition(":")
    if not password:
        # In the URL of a web page a user without a password is a token; elsewhere it is a name.
        is_token = text[max(at - 4, 0) : at].lower() in ("http", "ttps")
        password = user if is_token and user != "git" else ""
    if password and password != table.MASK and not values.is_placeholder(password):
        yield Finding(*found.span(name), "userinfo")


def _credentials(text: str, lower: str) -> Iterator[Finding]:
    for found in _CREDENTIALS.finditer(lower):
        start, end = found.span(2)
        value = text[start:end]
        if text[max(found.start() - 1, 0) : found.start()].isalnum():
            continue
        if _is_basic(value) if found[1] else len(value) >= 20 or not value.rstrip(".").isalpha():
            yield Finding(start, end, "credentials")


def _is_basic(value: str) -> bool:
    try:
        return b":" in base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False


def _literals(text: str, lower: str) -> Iterator[Finding]:
    found = _STATEMENT.search(lower)
    if found is None:
        return
    upper_from, any_from, where, line, parameters = (
        ahead(pattern, text) for pattern in (_UPPER_FROM, _FROM, _WHERE, _LINE_END, _PARAMETERS)
    )
    raw = _BEFORE_RAW.match(text)
    while found:
        start, at = found.span()
        alone = raw is not None and raw.end() == start
        # SQLAlchemy puts a statement of any number of lines in brackets; other texts quote one line
        # of it.
        quoted = text.startswith("[SQL: ", max(start - 6, 0))
        end = len(text) if alone else min(parameters(start) if quoted else line(start), len(text))
        if text[max(start - 1, 0) : start].isalnum():
            is_statement = False
        elif found["sure"]:
            is_statement = True
        elif text[start:at].isupper():
            is_statement = (
                alone
                or upper_from(start) < end
                or text.startswith(("'", "$"), at)
                or _BEFORE_SELECT.search(text, max(start - 16, 0), start) is not None
            )
        else:
            is_statement = any_from(start) < where(start) < end
        if is_statement:
            yield from (Finding(*span[:2], "sql", span[2]) for span in sql.literals(text, start, end))
            at = end
        found = _STATEMENT.search(lower, at)


def _from_databases(text: str) -> Iterator[Finding]:
    at = 0
    while found := table.DATABASE_TEXTS.search(text, at):
        start, at = found.span(found.lastgroup or 0)
        if found.lastgroup == "parameters":
            end = text.find("]\n", start)
            at = end if end >= 0 else len(text) - text.endswith("]")
        if start < at and not text.startswith((table.MASK, "()", "{}", "[]"), start):
            yield Finding(start, at, "sql")
        at = max(at, found.end())


def _by_pattern(text: str, pattern: re.Pattern[str]) -> Iterator[Finding]:
    for found in pattern.finditer(text):
        start, end = found.span(found.lastindex or 0)
        if start < end and text[start:end] != table.MASK:
            yield Finding(start, end, "pattern")


def _emails(text: str) -> Iterator[Finding]:
    at = text.find("@")
    while at >= 0:
        host = _EMAIL_HOST.match(text, at)
        head = text[max(at - 64, 0) : at]
        local = len(head) - len(head.rstrip(_EMAIL_LETTERS))
        if host and local:
            yield Finding(at - local, host.end(), "email")
        at = text.find("@", at + 1)
