"""Local variables of the application's own frames as text: bounded and redacted.

No ``__repr__`` of the application is called: it may be slow, query a database, or raise. Values of
built-in types are shown as they are, other objects by their class and their ``__dict__``.
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

from otel_distro.errors.frames import app_file_name, function_name
from otel_distro.redaction import Redactor

if TYPE_CHECKING:
    from types import TracebackType

_MAX_FRAMES: Final = 10
_MAX_VARIABLES: Final = 30
_MAX_ELEMENTS: Final = 10
_MAX_VALUE_CHARS: Final = 200
_MAX_NAME_CHARS: Final = 60
_MAX_TEXT_CHARS: Final = 8000
_MAX_DEPTH: Final = 3
_MAX_INT: Final = 1 << 256

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


def local_variables(entries: list[TracebackType]) -> str:
    """Return the variables of the application's innermost frames, innermost first.

    One line for each frame, then one for each of its variables.
    """
    lines: list[str] = []
    own = [entry for entry in entries if app_file_name(entry.tb_frame.f_code.co_filename)]
    for entry in own[: -_MAX_FRAMES - 1 : -1]:
        code = entry.tb_frame.f_code
        lines.append(f"{function_name(code)} ({app_file_name(code.co_filename)}:{entry.tb_lineno})")
        found = [
            (name, value)
            for name, value in entry.tb_frame.f_locals.items()
            if type(value).__name__ not in _HIDDEN_TYPES and not name.startswith("__")
        ]
        lines.extend(f"  {name} = {_redacted(name, value, 0)}" for name, value in found[:_MAX_VARIABLES])
        if len(found) > _MAX_VARIABLES:
            lines.append(f"  and {len(found) - _MAX_VARIABLES} more")
    text = "\n".join(lines)
    return text if len(text) <= _MAX_TEXT_CHARS else f"{text[: _MAX_TEXT_CHARS - 1]}…"


def _redacted(name: str, value: Any, depth: int) -> str:
    """Return the text of a value, redacted where its name is that of a secret."""
    text = _text(value, depth)
    kept: object = _redactor().value(name, text)
    return kept if type(kept) is str else str(kept)


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str:
        # Redacted before it is truncated: half a secret is not recognised as one.
        return _truncated(repr(_redactor().text(value[: 50 * _MAX_VALUE_CHARS])))
    if kind is bytes or kind is bytearray:
        return _truncated(repr(bytes(value[:_MAX_VALUE_CHARS])))
    if kind is int:
        return repr(value) if -_MAX_INT < value < _MAX_INT else f"<int of {value.bit_length()} bits>"
    if kind is decimal.Decimal:
        return _truncated(repr(value)) if -10_000 < value.adjusted() < 10_000 else "<Decimal>"
    if kind in _PLAIN:
        return _truncated(repr(value))
    if kind is dict:
        return _truncated("{" + _pairs(value, depth) + "}")
    if kind in _BRACKETS:
        if depth >= _MAX_DEPTH:
            return f"<{kind.__name__} of {len(value)}>"
        left, right = _BRACKETS[kind]
        inside = [_text(element, depth + 1) for element in islice(value, _MAX_ELEMENTS)]
        more = [f"and {len(value) - _MAX_ELEMENTS} more"] if len(value) > _MAX_ELEMENTS else []
        return _truncated(left + ", ".join(inside + more) + right)
    return _object(value, kind, depth)


def _object(value: Any, kind: type[Any], depth: int) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"[:_MAX_NAME_CHARS]
    try:
        held = object.__getattribute__(value, "__dict__") if depth < _MAX_DEPTH else None
    except Exception:
        held = None
    if type(held) is not dict or not held:
        return f"<{name}>"
    return _truncated(f"<{name} {_pairs(held, depth, '=')}>")


def _pairs(held: dict[Any, Any], depth: int, sign: str = ": ") -> str:
    if depth >= _MAX_DEPTH:
        return f"{len(held)} entries"
    parts = []
    for key, value in islice(list(held.items()), _MAX_ELEMENTS):
        name = key[:_MAX_NAME_CHARS] if type(key) is str else ""
        label = name if name and sign == "=" else _text(key, depth + 1)
        parts.append(f"{label}{sign}{_redacted(name, value, depth + 1)}")
    if len(held) > _MAX_ELEMENTS:
        parts.append(f"and {len(held) - _MAX_ELEMENTS} more")
    return ", ".join(parts)


def _truncated(text: str) -> str:
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 1]}…"
