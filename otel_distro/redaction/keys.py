"""Which keys are secret: of attributes, headers, parameters, variables, fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from otel_distro.redaction import table
from otel_distro.redaction.literals import lazy

if TYPE_CHECKING:
    from collections.abc import Iterable

KeyClass = Literal["", "password", "header", "secret", "countable", "opaque"]
"""Why a key is secret, which says how its value is treated; empty: it is not."""

_WORD: Final = lazy(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_OPAQUE: Final = lazy(r"(?=[^0-9]{0,200}[0-9])(?=[^A-Za-z]{0,200}[A-Za-z])[\w+/=.%~-]{16,}", re.ASCII)
_LONGEST: Final = 256
_REMEMBERED: Final = 4096


class Keys:
    """Judges keys by the table, plus keys of the user's own, minus those the user wants to see."""

    def __init__(self, extra: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        self._verdicts: dict[str, KeyClass] = {}
        self._extra = frozenset(filter(None, map(folded, extra)))
        self._keep = frozenset(filter(None, map(folded, keep)))

    def judge(self, key: str) -> KeyClass:
        """Return why ``key`` is secret, empty when it is not; words count, not parts of words."""
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= _REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[key] = self._judge(key[-_LONGEST:])
        return verdict

    def keeps(self, key: str) -> bool:
        """Return whether the user wants to see the values of ``key`` as they are."""
        return bool(self._keep) and folded(key) in self._keep

    def _judge(self, key: str) -> KeyClass:
        if self.keeps(key):
            return ""
        if self._extra and self._is_extra(key):
            return "secret"
        words = words_of(key)
        if not words or words[0] in table.NEGATING_WORDS:
            return ""
        found: KeyClass = ""
        for index, word in enumerate(words):
            verdict, length = _secret_at(words, index, word)
            if verdict and not _only_described(words, index + length):
                found = verdict
                if verdict != "countable":
                    break
        return found or _secret_at_end(words)

    def _is_extra(self, key: str) -> bool:
        """Return whether the key is one of the user's, or contains it as words of its own."""
        if folded(key) in self._extra:
            return True
        words = words_of(key)
        spans = (words[start : start + length] for length in (1, 2, 3, 4) for start in range(len(words)))
        return any("".join(span) in self._extra for span in spans)


def words_of(key: str) -> list[str]:
    """Return the words of a key in lower case, whatever joins them: `http.header.X-Api-Key` has four after the first."""
    return [word.lower() for word in _WORD.findall(key)]


def folded(key: str) -> str:
    """Return a key without what joins its words: the same for all ways to write it."""
    return "".join(words_of(key)) or key.strip().lower()


def is_opaque(value: str) -> bool:
    """Return whether a value looks like a random identifier: 16 characters or more, with letters and digits."""
    return _OPAQUE.fullmatch(value) is not None


def _secret_at(words: list[str], index: int, word: str) -> tuple[KeyClass, int]:
    """Return the verdict on the words that begin at ``index``, and how many they are."""
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
