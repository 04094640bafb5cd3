"""Which frames of a traceback are the application's own, and the fingerprint that follows from them."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import CodeType, TracebackType

_OURS: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARY: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_TYPED_IN: Final = ("<stdin>", "<string>", "<ipython-input", "<python-input")
_MOST_FRAMES: Final = 2000
_REMEMBERED: Final = 5000

_owners: dict[str, str] = {}
"""File name of code -> its name in a fingerprint, empty for code that is not the application's."""
_fingerprints: dict[tuple[str, ...], str] = {}


def own_name(filename: str) -> str:
    """Return the short name of a file of the application's, without its folder; empty for libraries and for us."""
    found = _owners.get(filename)
    if found is None:
        if len(_owners) >= _REMEMBERED:
            _owners.clear()
        found = _owners[filename] = _own_name(filename)
    return found


def _own_name(filename: str) -> str:
    if filename.startswith("<"):
        return filename if filename.startswith(_TYPED_IN) else ""
    path = os.path.abspath(filename)
    if path.startswith((_LIBRARY, _OURS)) or any(folder in path for folder in _INSTALLED):
        return ""
    return os.path.basename(path)


if sys.version_info >= (3, 11):

    def function_name(code: CodeType) -> str:
        """Return the name of a function with its class, from Python 3.11 on."""
        return code.co_qualname

else:

    def function_name(code: CodeType) -> str:
        """Return the name of a function; its class is not known before Python 3.11."""
        return code.co_name


def entries(tb: TracebackType | None) -> list[TracebackType]:
    """Return the entries of a traceback, outermost first, at most some thousands."""
    found: list[TracebackType] = []
    while tb is not None and len(found) < _MOST_FRAMES:
        found.append(tb)
        tb = tb.tb_next
    return found


def fingerprint(kind: str, error: BaseException, passed: list[TracebackType]) -> str:
    """Return 16 hexadecimal digits for the class ``kind`` of ``error`` and the own functions that it ``passed``.

    No line number and no folder goes in, so that it survives deploys; a function counts once, so that the depth of a
    recursion does not matter. Where no frame is the application's, all frames count. A group's members count by class.
    """
    codes = [entry.tb_frame.f_code for entry in passed]
    parts = [f"{file}:{function_name(code)}" for code in codes if (file := own_name(code.co_filename))]
    if not parts:
        parts = [f"{os.path.basename(code.co_filename)}:{function_name(code)}" for code in codes]
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple):
        parts += sorted({f"member {type(member).__qualname__}" for member in members[:_MOST_FRAMES]})
    return fingerprint_of(kind, parts)


def fingerprint_of(kind: str, parts: list[str]) -> str:
    """Return the fingerprint of a class and the places it passed, each ``file:function``."""
    key = (kind, *dict.fromkeys(parts))
    found = _fingerprints.get(key)
    if found is None:
        if len(_fingerprints) >= _REMEMBERED:
            _fingerprints.clear()
        found = _fingerprints[key] = sha256("\n".join(key).encode("utf-8", "replace")).hexdigest()[:16]
    return found


def place(tb: TracebackType) -> str:
    """Return module and function of an entry of a traceback."""
    module = tb.tb_frame.f_globals.get("__name__")
    name = function_name(tb.tb_frame.f_code)
    return f"{module}.{name}" if type(module) is str else name


def thrower(passed: list[TracebackType]) -> str:
    """Return the innermost function of the application's own that a traceback shows, the innermost of all without one."""
    for entry in reversed(passed):
        if own_name(entry.tb_frame.f_code.co_filename):
            return place(entry)
    return place(passed[-1]) if passed else ""
