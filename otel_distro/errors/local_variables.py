"""Local variables of the application's own frames as text: bounded, redacted, and without running any of its code.

No ``__repr__`` of the application is called: it may be slow, ask a database, or raise. Values of plain built-in types are
shown as they are, an object by its class and what lies in its ``__dict__``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import functools
import pathlib
import uuid
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from otel_distro.errors.frames import function_name, own_name
from otel_distro.redaction import Redactor

if TYPE_CHECKING:
    from types import TracebackType

_MOST_FRAMES: Final = 10
_MOST_VARIABLES: Final = 30
_MOST_ELEMENTS: Final = 10
_LONGEST: Final = 200
_LONGEST_NAME: Final = 60
_LONGEST_TEXT: Final = 8000
_DEEPEST: Final = 3
_LARGEST_INT: Final = 1 << 256

_PLAIN: Final = (
    bool,
    float,
    complex,
    type(None),
    dt.datetime,
    dt.date,
    dt.time,
    dt.timedelta,
    fractions.Fraction,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    uuid.UUID,
)
_BRACKETS: Final[dict[type[Any], tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
}
_HIDDEN_TYPES: Final = ("module", "function", "builtin_function_or_method", "type", "method")


@functools.lru_cache(maxsize=1)
def _redactor() -> Redactor:
    return Redactor.from_environment()


def local_variables(passed: list[TracebackType]) -> str:
    """Return the variables of the innermost own frames, innermost first: a line for the frame, one for each variable."""
    lines: list[str] = []
    own = [entry for entry in passed if own_name(entry.tb_frame.f_code.co_filename)]
    for entry in own[: -_MOST_FRAMES - 1 : -1]:
        code = entry.tb_frame.f_code
        lines.append(f"{function_name(code)} ({own_name(code.co_filename)}:{entry.tb_lineno})")
        found = [
            (name, value)
            for name, value in entry.tb_frame.f_locals.items()
            if type(value).__name__ not in _HIDDEN_TYPES and not name.startswith("__")
        ]
        lines.extend(f"  {name} = {_shown(name, value, 0)}" for name, value in found[:_MOST_VARIABLES])
        if len(found) > _MOST_VARIABLES:
            lines.append(f"  and {len(found) - _MOST_VARIABLES} more")
    text = "\n".join(lines)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _shown(name: str, value: Any, depth: int) -> str:
    """Return the text of a value, hidden where its name is that of a secret."""
    text = _text(value, depth)
    kept: object = _redactor().value(name, text)
    return kept if type(kept) is str else str(kept)


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str:
        # Redacted before it is cut: half a secret is not recognised as one.
        return _cut(repr(_redactor().text(value[: 50 * _LONGEST])))
    if kind is bytes or kind is bytearray:
        return _cut(repr(bytes(value[:_LONGEST])))
    if kind is int:
        return repr(value) if -_LARGEST_INT < value < _LARGEST_INT else f"<int of {value.bit_length()} bits>"
    if kind is decimal.Decimal:
        return _cut(repr(value)) if -10_000 < value.adjusted() < 10_000 else "<Decimal>"
    if kind in _PLAIN:
        return _cut(repr(value))
    if kind is dict:
        return _cut("{" + _pairs(value, depth) + "}")
    if kind in _BRACKETS:
        if depth >= _DEEPEST:
            return f"<{kind.__name__} of {len(value)}>"
        left, right = _BRACKETS[kind]
        inside = [_text(element, depth + 1) for element in islice(value, _MOST_ELEMENTS)]
        more = [f"and {len(value) - _MOST_ELEMENTS} more"] if len(value) > _MOST_ELEMENTS else []
        return _cut(left + ", ".join(inside + more) + right)
    return _object(value, kind, depth)


def _object(value: Any, kind: type[Any], depth: int) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"[:_LONGEST_NAME]
    try:
        held = object.__getattribute__(value, "__dict__") if depth < _DEEPEST else None
    except Exception:
        held = None
    if type(held) is not dict or not held:
        return f"<{name}>"
    return _cut(f"<{name} {_pairs(held, depth, '=')}>")


def _pairs(held: dict[Any, Any], depth: int, sign: str = ": ") -> str:
    if depth >= _DEEPEST:
        return f"{len(held)} entries"
    parts = []
    for key, value in islice(list(held.items()), _MOST_ELEMENTS):
        name = key[:_LONGEST_NAME] if type(key) is str else ""
        label = name if name and sign == "=" else _text(key, depth + 1)
        parts.append(f"{label}{sign}{_shown(name, value, depth + 1)}")
    if len(held) > _MOST_ELEMENTS:
        parts.append(f"and {len(held) - _MOST_ELEMENTS} more")
    return ", ".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
