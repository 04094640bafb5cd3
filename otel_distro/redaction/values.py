"""The value after a secret key in running text: where it ends, and whether it is a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_distro.redaction import table
from otel_distro.redaction.keys import is_opaque
from otel_distro.redaction.literals import lazy

if TYPE_CHECKING:
    import re

    from otel_distro.redaction.keys import KeyClass

Place = tuple[int, int]

_OPENER: Final = lazy(r"[bBuUrRfF]{0,2}(\\{0,3}[\"'`])")
_LIST: Final = lazy(r"\[[^\[\]{}]+\]")
_TUPLE: Final = lazy(r"\(b?[\"'][^()\[\]{}]+\)")
_BARE: Final = lazy(r"[^\s,;&\"'<>`]+")
_SHORT: Final = lazy(r"[^\s,;&\"'<>`]{1,128}")
_COOKIES: Final = lazy(r"[^\s;\"']+(?:;[ \t]?[^\s;\"']+)*")
_REST_OF_LINE: Final = lazy(r"[^\r\n\"']+")
_GAP: Final = lazy(r"[ \t]{1,4}(?=[^\s,;])")
_PROSE: Final = lazy(r"[A-Za-z][a-z']{0,20}[,;:]? [a-z]{1,20}\b")
_CODE: Final = lazy(r"[A-Za-z_][A-Za-z_.]{2,60}[(\[](?=[)\]\"'A-Za-z_*]|$)")
_REFERENCE: Final = lazy(r"[A-Za-z_][A-Za-z_.]*")
_PLACEHOLDER: Final = lazy(
    r"\*+|[xX]{3,}|\.{2,}|…|[-_]+|%(?:\([\w.]+\))?[sdr]|:[a-z_]+|\?+|\$\{[^{}]+\}|\$[A-Z_]+|\{+[^{}]*\}+|<[^<>]*>"
    r"|[(<\[]{0,2}(?:redacted|filtered|masked|removed|scrubbed|REDACTED|FILTERED|MASKED|REMOVED|SCRUBBED|Filtered)[)>\]]{0,2}"
)
_ENCODED_END: Final = lazy(r"%2[26]")
_NUMBERS: Final = lazy(r"[-+0-9.,\s\[\]()]{1,512}")
_MAX_PLACEHOLDER_LENGTH: Final = 64
_CLOSERS: Final = ")]}.:\\"


def value_span(text: str, at: int, key: str, key_class: KeyClass, separator: str) -> Place | None:
    """Return start and end of the secret at ``at``, after ``key`` and ``separator``, or None."""
    if at >= len(text) or text.startswith(table.MASK, at):
        return None
    opener = _OPENER.match(text, at)
    if opener is not None:
        return _quoted(text, opener, key_class)
    if separator == ">":
        end = text.find("<", at)
        return (at, end) if at < end and not is_plain(text[at:end]) else None
    first = text[at : at + 1]
    if first == "[":
        return _list(text, at, key_class)
    if separator == ":" and (found := _TUPLE.match(text, at)):
        # A header with its values, as `repr` writes it.
        return found.span()
    if first in ("{", "(", "<") or separator in ("==", "!=") or _CODE.match(text, at):
        # A comparison with an unquoted value, or the result of a call: this is source code.
        return None
    if key_class == "header":
        return _header(text, at)
    return _bare(text, at, key, key_class, separator)


def _list(text: str, at: int, key_class: KeyClass) -> Place | None:
    found = _LIST.match(text, at)
    if found is None or is_placeholder(found.group()):
        return None
    # Numbers in a row are counts, such as those of the tokens that a model read.
    if key_class in ("countable", "opaque") and "'" not in found.group() and '"' not in found.group():
        return None
    return at, found.end()


def _quoted(text: str, opener: re.Match[str], key_class: KeyClass) -> Place | None:
    start, quote = opener.end(), opener.group(1)
    end = end_of_quoted(text, start, quote)
    content = text[start:end]
    if key_class != "password" and len(content) <= 2 and not content.isalnum():
        # A parser's complaint: `unexpected token: '}'`.
        return None
    return (start, end) if content and not is_plain(content) and _fits(content, key_class) else None


def end_of_quoted(text: str, start: int, quote: str) -> int:
    """Return the end of the text that ``quote`` opened before ``start``.

    Without a closing quote the text ends with the line.
    """
    at = text.find(quote, start)
    while at >= 0 and len(quote) == 1 and _is_escaped(text, start, at):
        at = text.find(quote, at + 1)
    line = text.find("\n", start, len(text) if at < 0 else at)
    if line >= 0:
        return line
    return len(text) if at < 0 else at


def _is_escaped(text: str, floor: int, at: int) -> bool:
    before = at
    while before > floor and text[before - 1] == "\\":
        before -= 1
    return (at - before) % 2 == 1


def _header(text: str, at: int) -> Place | None:
    found = _BARE.match(text, at)
    if found is None:
        return None
    word = found.group().lower()
    gap = _GAP.match(text, found.end())
    if word in table.SCHEMES and gap:
        if text.startswith(table.MASK, gap.end()):
            return None
        following = (_BARE if word in ("basic", "bearer", "token") else _REST_OF_LINE).match(text, gap.end())
        if following is None or following.group().lower() in table.PLAIN_VALUES:
            return None
        return gap.end(), following.end()
    if is_plain(word):
        return None
    cookies = _COOKIES.match(text, at)
    return (at, cookies.end()) if cookies else None


def _bare(text: str, at: int, key: str, key_class: KeyClass, separator: str) -> Place | None:
    # Cheap checks of the beginning come first: the value may be long and full of further keys.
    if separator == ":" and text[at] in "/\\":
        # A path or a route, not a pair: `/run/secrets:/run/secrets:ro`.
        return None
    if separator == ":" and key_class != "password" and _PROSE.match(text, at):
        return None
    if key_class == "opaque":
        begin = _SHORT.match(text, at)
        if begin is None or not is_opaque(begin.group().rstrip(_CLOSERS)):
            return None
    found = _BARE.match(text, at)
    if found is None:
        return None
    value = found.group()
    if separator == "%3d":
        value = _ENCODED_END.split(value, maxsplit=1)[0]
    value = value.rstrip(_CLOSERS)
    if not value or is_plain(value) or _refers_to(value, key) or (key_class == "countable" and is_number(value)):
        return None
    end = at + len(value)
    if separator == ":" and text.startswith(" | None", end):
        return None
    # A semicolon follows in a connection string, and then it is a password in spite of its
    # beginning.
    return None if is_working_directory(key, value) and not text.startswith(";", end) else (at, end)


def _fits(value: str, key_class: KeyClass) -> bool:
    if key_class == "opaque":
        return is_opaque(value)
    if key_class == "countable":
        return not is_number(value)
    return True


def is_number(value: str) -> bool:
    """Return whether the value is a number, or several, as a count or a size is written."""
    return _NUMBERS.fullmatch(value) is not None


def is_working_directory(key: str, value: str) -> bool:
    """Return whether the key is the shell's variable PWD or OLDPWD, which looks like a password."""
    return key in ("PWD", "pwd") and value.startswith("/")


def is_plain(value: str) -> bool:
    """Return whether the value is harmless: a word of prose or of code, or a placeholder."""
    return len(value) <= _MAX_PLACEHOLDER_LENGTH and (
        value.lower().rstrip(".,:;!?)]}") in table.PLAIN_VALUES or is_placeholder(value)
    )


def is_placeholder(value: str) -> bool:
    """Return whether the text is a placeholder: stars, a variable, a format, a foreign mask."""
    return len(value) <= _MAX_PLACEHOLDER_LENGTH and _PLACEHOLDER.fullmatch(value) is not None


def _refers_to(value: str, key: str) -> bool:
    """Return whether the value is a variable's name, as in `password=password` in source code."""
    name = key.rpartition(".")[2].strip("-")
    if not value.endswith(name) or not name or not _REFERENCE.fullmatch(value):
        return False
    return len(value) == len(name) or value[-len(name) - 1] in "._"
