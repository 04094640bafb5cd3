"""Stack traces as Python prints them.

The text of each frame is cached: errors come again from the same places.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Final

from otel_distro.errors.frames import function_name, path_of

if TYPE_CHECKING:
    from types import TracebackType

    from otel_distro.errors.frames import TracePath

_TITLE: Final = "Traceback (most recent call last):\n"
_MAX_FRAMES: Final = 100
_SHOWN_REPEATS: Final = 3
"""Python replaces further repeats of a frame by one line."""
_MAX_CACHED: Final = 5000
_DETAILED: Final = (SyntaxError, NameError, AttributeError, ImportError)
"""Classes whose last line has more than class and message: source positions, suggestions."""

_frames: dict[tuple[str, str, int, int, int], str] = {}


def stack_trace(error: BaseException, entries: list[TracebackType], path: TracePath | None = None) -> str:
    """Return the whole trace with causes, groups and notes, as :func:`traceback.format_exception`.

    ``entries``: those of its traceback; ``path``: theirs, if it is known already.
    """
    fast = _fast(error, entries, path)
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)) if fast is None else fast


def _fast(error: BaseException, entries: list[TracebackType], path: TracePath | None) -> str | None:
    """Return the trace of an exception without chain, group or notes; None for any other."""
    if (
        error.__cause__ is not None
        or (error.__context__ is not None and not error.__suppress_context__)
        or isinstance(error, _DETAILED)
        or getattr(error, "__notes__", None) is not None
        or getattr(error, "exceptions", None) is not None
        or hasattr(sys, "tracebacklimit")
        or len(entries) > _MAX_FRAMES
    ):
        return None
    path = path or path_of(entries)
    frames = path.text
    if frames == "":
        frames = path.text = _frames_text(entries)
    if frames is None:
        return None
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except Exception:
        return None
    last = f"{name}: {message}\n" if message else f"{name}\n"
    return f"{_TITLE}{frames}{last}" if entries else last


def _frames_text(entries: list[TracebackType]) -> str | None:
    """Return the entries as Python prints them, None where it would leave some out."""
    parts = []
    previous: tuple[str, str, int] | None = None
    repeats = 0
    for entry in entries:
        code, line = entry.tb_frame.f_code, entry.tb_lineno
        place = (code.co_filename, code.co_name, line)
        repeats = repeats + 1 if place == previous else 1
        if repeats > _SHOWN_REPEATS:
            return None
        previous = place
        key = (code.co_filename, function_name(code), code.co_firstlineno, entry.tb_lasti, line)
        text = _frames.get(key)
        if text is None:
            if len(_frames) >= _MAX_CACHED:
                _frames.clear()
            text = _frames[key] = "".join(traceback.format_tb(entry, limit=1))
        parts.append(text)
    return "".join(parts)
