"""Find the application's own frames in a traceback, and compute the fingerprint from them."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import CodeType, TracebackType

_DISTRIBUTION: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARY: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_INTERACTIVE: Final = ("<stdin>", "<string>", "<ipython-input", "<python-input")
_CELL: Final = "<ipython-input-"
_MAX_FRAMES: Final = 2000
_MAX_CACHED: Final = 5000
_MAX_PATHS: Final = 1000
_MAX_CACHED_ENTRIES: Final = 200
_MAX_KINDS: Final = 100

_file_names: dict[str, str] = {}
"""File of code -> its name in a fingerprint; empty for code that is not the application's."""
_fingerprints: dict[tuple[str, ...], str] = {}


def app_file_name(filename: str) -> str:
    """Return the name, without folder, of a file of the application.

    Empty for the standard library, installed packages and this distribution.
    """
    found = _file_names.get(filename)
    if found is None:
        if len(_file_names) >= _MAX_CACHED:
            _file_names.clear()
        found = _file_names[filename] = _app_file_name(filename)
    return found


def _app_file_name(filename: str) -> str:
    if filename.startswith(_CELL):
        # Without the number of the cell, which changes each time it is run.
        return f"{_CELL}{filename.rpartition('-')[2]}"
    if filename.startswith("<"):
        return filename if filename.startswith(_INTERACTIVE) else ""
    path = os.path.abspath(filename)
    if path.startswith((_LIBRARY, _DISTRIBUTION)) or any(folder in path for folder in _INSTALLED):
        return ""
    return os.path.basename(path)


if sys.version_info >= (3, 11):

    def function_name(code: CodeType) -> str:
        """Return the name of a function, qualified by its class from Python 3.11 on."""
        return code.co_qualname

else:

    def function_name(code: CodeType) -> str:
        """Return the name of a function; code objects know the class only from Python 3.11 on."""
        return code.co_name


def traceback_entries(tb: TracebackType | None) -> list[TracebackType]:
    """Return the entries of a traceback, outermost first, at most 2,000."""
    found: list[TracebackType] = []
    while tb is not None and len(found) < _MAX_FRAMES:
        found.append(tb)
        tb = tb.tb_next
    return found


class TracePath:
    """The way that an exception took, and what all exceptions that take it share.

    Attributes:
        codes: The code of each entry. The cache finds a path by their identities.
        parts: ``file:function`` of the entries that count for the fingerprint.
        raising: Index of the innermost entry of the application; without one, the last.
        text: The entries as Python prints them, set by :mod:`otel_distro.errors.stack_trace`; None
            if they need more than that.
    """

    __slots__ = ("codes", "fingerprints", "parts", "raising", "text")

    def __init__(self, codes: list[CodeType]) -> None:
        self.codes = codes
        self.fingerprints: dict[str, str] = {}
        self.text: str | None = ""
        files = [app_file_name(code.co_filename) for code in codes]
        self.parts = [f"{file}:{function_name(code)}" for file, code in zip(files, codes, strict=True) if file]
        self.raising = max((index for index, file in enumerate(files) if file), default=len(codes) - 1)
        if not self.parts:
            self.parts = [f"{os.path.basename(code.co_filename)}:{function_name(code)}" for code in codes]


_paths: dict[tuple[int, ...], TracePath] = {}


def path_of(entries: list[TracebackType]) -> TracePath:
    """Return the path of a traceback, from the cache if it is known."""
    codes = [entry.tb_frame.f_code for entry in entries]
    if len(codes) > _MAX_CACHED_ENTRIES:
        return TracePath(codes)
    key = (*map(id, codes), *[entry.tb_lasti for entry in entries], *[entry.tb_lineno for entry in entries])
    found = _paths.get(key)
    if found is None:
        if len(_paths) >= _MAX_PATHS:
            _paths.clear()
        found = _paths[key] = TracePath(codes)
    return found


def fingerprint(kind: str, error: BaseException, entries: list[TracebackType], path: TracePath | None = None) -> str:
    """Return 16 hexadecimal digits for the class ``kind`` and the application's functions.

    Line numbers and folders are left out, so that the fingerprint survives deploys. A function
    counts once, so that the depth of a recursion does not matter. Where no frame is the
    application's, all frames count. Members of an exception group count by class.
    """
    path = path or path_of(entries)
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple):
        kinds = sorted({f"member {type(member).__qualname__}" for member in members[:_MAX_FRAMES]})
        return fingerprint_of(kind, [*path.parts, *kinds])
    found = path.fingerprints.get(kind)
    if found is None:
        if len(path.fingerprints) >= _MAX_KINDS:
            path.fingerprints.clear()
        found = path.fingerprints[kind] = fingerprint_of(kind, path.parts)
    return found


def fingerprint_of(kind: str, parts: list[str]) -> str:
    """Return the fingerprint of a class and of frames, each given as ``file:function``."""
    key = (kind, *dict.fromkeys(parts))
    found = _fingerprints.get(key)
    if found is None:
        if len(_fingerprints) >= _MAX_CACHED:
            _fingerprints.clear()
        found = _fingerprints[key] = sha256("\n".join(key).encode("utf-8", "replace")).hexdigest()[:16]
    return found


def qualified_name(tb: TracebackType) -> str:
    """Return ``module.function`` of an entry of a traceback."""
    module = tb.tb_frame.f_globals.get("__name__")
    name = function_name(tb.tb_frame.f_code)
    return f"{module}.{name}" if type(module) is str else name


def raising_function(entries: list[TracebackType], path: TracePath | None = None) -> str:
    """Return the innermost function of the application; without one, the innermost of all."""
    return qualified_name(entries[(path or path_of(entries)).raising]) if entries else ""
