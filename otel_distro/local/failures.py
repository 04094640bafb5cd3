"""Errors in telemetry: which frame is to blame, and which errors are the same."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_HEADER = "Traceback (most recent call last):"
_FRAME = re.compile(r'^[ |]*File "(?P<path>[^"\n]+)", line (?P<line>\d+), in (?P<function>[^\n]+)', re.MULTILINE)
_FIRST_MEMBER = re.compile(r"^[ |]*\+-\+-+ 1 -", re.MULTILINE)
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python\d[.\d]*|otel_distro)[/\\]|^<frozen ")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Frame:
    """One line of a stack trace."""

    path: str
    line: int
    function: str

    @property
    def in_app(self) -> bool:
        """Whether the file is the application's: neither the standard library's, a package's nor ours."""
        return not _LIBRARY.search(self.path)


def last_trace(stack: str) -> str:
    """Return the trace of the error itself: without the errors that caused it and the members of a group."""
    member = _FIRST_MEMBER.search(stack)
    own = stack[: member.start()] if member else stack
    start = own.rfind(_HEADER)
    return own[start:] if start >= 0 else own


def frames(stack: str) -> list[Frame]:
    """Return the frames of the error itself, outermost first."""
    return [Frame(m["path"], int(m["line"]), m["function"].strip()) for m in _FRAME.finditer(last_trace(stack))]


def culprit(stack: str) -> Frame | None:
    """Return the last frame of the application, or the last of any when only libraries are in the trace."""
    found = frames(stack)
    candidates = [frame for frame in found if frame.in_app] or found
    return candidates[-1] if candidates else None


def fingerprint(kind: str, frame: Frame | None) -> str:
    """Return what errors of one group share: the class and the place, not the message and not the line.

    Of the path the last two parts count, so that a checkout elsewhere gives the same group; digits do not count, so
    that generated names (notebook cells, lambdas) do.
    """
    place = ""
    if frame:
        place = "/".join(re.split(r"[/\\]", frame.path)[-2:]) + ":" + frame.function
    text = f"{kind.rpartition('.')[2]}\0{_DIGITS.sub('', place)}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
