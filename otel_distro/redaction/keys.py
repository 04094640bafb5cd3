"""Decides which keys of attributes, headers, parameters, variables and fields are secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from otel_distro.redaction import table
from otel_distro.redaction.literals import lazy

if TYPE_CHECKING:
    from collections.abc import Iterable

KeyClass = Literal["", "password", "header", "secret", "countable", "opaque"]
"""Why a key is secret, which decides how its value is redacted. Empty: it is not secret."""

_WORD: Final = lazy(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_OPAQUE: Final = lazy(r"(?=[^0-9]{0,200}[0-9])(?=[^A-Za-z]{0,200}[A-Za-z])[\w+/=.%~-]{16,}", re.ASCII)
_MAX_LENGTH: Final = 256
_CACHE_SIZE: Final = 4096


class Keys:
    """Classifies keys by the table, the user's secret keys and the user's keys to keep."""

    def __init__(self, extra: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        self._classes: dict[str, KeyClass] = {}
        self._extra = frozenset(filter(None, map(folded, extra)))
        self._keep = frozenset(filter(None, map(folded, keep)))

    def classify(self, key: str) -> KeyClass:
        """Return why ``key`` is secret, or "". Whole words match, not parts of words."""
        key_class = self._classes.get(key)
        if key_class is None:
            if len(self._classes) >= _CACHE_SIZE:
                self._classes.clear()
            key_class = self._classes[key] = self._classify(key[-_MAX_LENGTH:])
        return key_class

    def keeps(self, key: str) -> bool:
        """Return whether the user's settings keep the values of ``key`` as they are."""
        return bool(self._keep) and folded(key) in self._keep

    def _classify(self, key: str) -> KeyClass:
        if self.keeps(key):
            return ""
        if self._extra and self._is_extra(key):
            return "secret"
        words = words_of(key)
        if not words or words[0] in table.NEGATING_WORDS:
            return ""
        found: KeyClass = ""
        for index, word in enumerate(words):
            key_class, length = _secret_at(words, index, word)
            if key_class and not _only_described(words, index + length):
                found = key_class
                if key_class != "countable":
                    break
        return found or _secret_at_end(words)

    def _is_extra(self, key: str) -> bool:
        """Return whether the key is one of the user's, or contains one as whole words."""
        if folded(key) in self._extra:
            return True
        words = words_of(key)
        spans = (words[start : start + length] for length in (1, 2, 3, 4) for start in range(len(words)))
        return any("".join(span) in self._extra for span in spans)


def words_of(key: str) -> list[str]:
    """Return the words of a key in lower case, whatever joins them.

    `http.header.X-Api-Key` has five words.
    """
    return [word.lower() for word in _WORD.findall(key)]


def folded(key: str) -> str:
    """Return a key without the characters that join its words: one form for all spellings."""
    return "".join(words_of(key)) or key.strip().lower()


def is_opaque(value: str) -> bool:
    """Return whether a value looks like a random identifier.

    Such a value has 16 characters or more, with letters and digits.
    """
    return _OPAQUE.fullmatch(value) is not None


def _secret_at(words: list[str], index: int, word: str) -> tuple[KeyClass, int]:
    """Return the class of the words that begin at ``index``, and their number."""
    for length in (1, 2, 3):
        phrase = word if length == 1 else "".join(words[index : index + length])
        if phrase in table.PASSWORD_WORDS:
            return "password", length
        if phrase in table.HEADER_WORDS:
            return "header", length
        if phrase in table.SECRET_WORDS:
            return "secret", length
        if phrase in table.COUNTABLE_WORDS:
            return "countable", length
    if word.startswith(table.GLUED_STARTS) and word not in table.PLAIN_WORDS:
        return ("secret" if word.startswith("a") else "password"), 1
    if word.endswith(table.GLUED_ENDS):
        return ("password" if word.endswith(("word", "wd", "wort", "phrase")) else "secret"), 1
    return "", 0


def _only_described(words: list[str], after: int) -> bool:
    rest = words[after:]
    return bool(rest) and (rest[0] in table.DESCRIBING_WORDS or rest[-1] in table.DESCRIBING_WORDS)


def _secret_at_end(words: list[str]) -> KeyClass:
    for phrase in (words[-1], "".join(words[-2:])):
        if phrase in table.LAST_WORDS:
            return "secret"
        if phrase in table.LAST_COUNTABLE_WORDS:
            return "countable"
        if phrase in table.LAST_OPAQUE_WORDS:
            return "opaque"
    return ""
