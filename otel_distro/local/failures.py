"""Errors of senders without a fingerprint: which frame caused them, and which are the same."""

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
        """Whether the file belongs to the application: not to a library or to this package."""
        return not _LIBRARY.search(self.path)


def last_trace(stack: str) -> str:
    """Return the trace of the error itself: without its causes and the members of a group."""
    member = _FIRST_MEMBER.search(stack)
    own = stack[: member.start()] if member else stack
    start = own.rfind(_HEADER)
    return own[start:] if start >= 0 else own


def frames(stack: str) -> list[Frame]:
    """Return the frames of the error itself, outermost first."""
    return [Frame(m["path"], int(m["line"]), m["function"].strip()) for m in _FRAME.finditer(last_trace(stack))]


def culprit(stack: str) -> Frame | None:
    """Return the last frame of the application, or the last of all if only libraries are in it."""
    found = frames(stack)
    candidates = [frame for frame in found if frame.in_app] or found
    return candidates[-1] if candidates else None


def fingerprint(kind: str, frame: Frame | None) -> str:
    """Return a hash of the class and the place, without message and line, as key of a group.

    Only the last two parts of the path count, so that a checkout elsewhere gives the same group.
    Digits do not count, so that generated names (notebook cells, lambdas) share one.
    """
    place = ""
    if frame:
        place = "/".join(re.split(r"[/\\]", frame.path)[-2:]) + ":" + frame.function
    text = f"{kind.rpartition('.')[2]}\0{_DIGITS.sub('', place)}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
