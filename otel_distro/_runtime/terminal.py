"""Text for a terminal: width, colours, symbols; plain text where the stream has none of them."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLES: Final = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
_MIN_WIDTH: Final = 64
_MAX_WIDTH: Final = 120
_DEFAULT_WIDTH: Final = 100


@dataclass(frozen=True)
class Glyphs:
    """The symbols of a page."""

    line: str
    dot: str
    times: str
    more: str
    micro: str
    none: str
    warning: str


_UNICODE: Final = Glyphs(line="─", dot="·", times="×", more="…", micro="µs", none="–", warning="!")  # noqa: RUF001 - meant
_ASCII: Final = Glyphs(line="-", dot="-", times="x", more="...", micro="us", none="-", warning="!")


@dataclass
class Page:
    """A page of text, collected line by line."""

    width: int
    colour: bool
    glyphs: Glyphs
    encoding: str
    _lines: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Page:
        """Return an empty page for ``stream``.

        ``NO_COLOR`` (https://no-color.org) and ``COLUMNS`` are respected.
        """
        terminal = stream.isatty()
        colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        encoding = getattr(stream, "encoding", None) or "ascii"
        try:
            "".join(vars(_UNICODE).values()).encode(encoding)
            glyphs = _UNICODE
        except (UnicodeError, LookupError):
            glyphs = _ASCII
        return cls(_width(stream, terminal, environ), colour, glyphs, encoding)

    def text(self) -> str:
        """Return the page, in characters of the stream's encoding."""
        text = "\n".join(["", *self._lines, ""])
        try:
            return text.encode(self.encoding, "replace").decode(self.encoding)
        except LookupError:
            return text.encode("ascii", "replace").decode("ascii")

    def line(self, text: str) -> None:
        """Add a line. Telemetry in it must have passed :meth:`clean` or :func:`cut`."""
        self._lines.append(text.rstrip())

    def blank(self) -> None:
        """Add an empty line."""
        self._lines.append("")

    def heading(self, title: str, columns: str = "", width: int = 0) -> None:
        """Add an empty line and a section's title, with the names of its columns to the right."""
        self.blank()
        space = " " * (width + 2 - len(title)) if columns else ""
        self.line(self.paint("bold", title) + self.paint("dim", space + columns))

    def rule(self, left: str, right: str, style: str) -> None:
        """Add a line across the page with text in it."""
        line = self.glyphs.line
        if not left:
            self.line(self.paint("dim", line * self.width))
            return
        end = f" {right} {line * 2}"
        start = f"{line * 2} {cut(left, self.width - len(end) - 6, self.glyphs, pad=False)} "
        middle = line * (self.width - columns_of(start) - len(end))
        self.line(f"{self.paint('bold', start)}{middle}{self.paint(style, end)}")

    def paint(self, style: str, text: str) -> str:
        """Return ``text`` in a colour, if the page has colours and ``style`` is one."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and text and style in _STYLES else text

    def clean(self, text: str) -> str:
        """Return ``text`` without characters that would move the cursor or change the terminal."""
        return clean(text)


def clean(text: str) -> str:
    """Return ``text`` on one line.

    A run of white space becomes one space, a control character ``?``.
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def columns_of(text: str) -> int:
    """Return how many columns a terminal uses for ``text``."""
    return sum(_columns_of_character(c) for c in text)


def _columns_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int, glyphs: Glyphs, pad: bool = True) -> str:
    """Return ``text``, cleaned, in at most ``width`` columns; with ``pad`` in exactly as many."""
    indent = len(text) - len(text.lstrip(" "))
    text = " " * indent + clean(text[: 20 * width])
    if columns_of(text) > width:
        room = width - len(glyphs.more)
        kept = 0
        while kept < len(text) and room >= _columns_of_character(text[kept]):
            room -= _columns_of_character(text[kept])
            kept += 1
        text = text[:kept] + glyphs.more
    return text + " " * (width - columns_of(text)) if pad else text


def duration(nanoseconds: int, glyphs: Glyphs) -> str:
    """Return a duration with three significant digits."""
    seconds = nanoseconds / 1e9
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60)}m"
    if seconds >= 60:
        return f"{int(seconds // 60)}m {int(seconds % 60)}s"
    for limit, factor, unit in ((1, 1, "s"), (1e-3, 1e3, "ms")):
        if seconds >= limit:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{round(seconds * 1e6)} {glyphs.micro}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def memory(count: float) -> str:
    """Return a number of bytes in a readable unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def plural(count: int, one: str, many: str = "") -> str:
    """Return the number with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _width(stream: TextIO, terminal: bool, environ: Mapping[str, str]) -> int:
    columns = environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        width = int(columns)
    elif terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
        except (OSError, ValueError):
            width = _DEFAULT_WIDTH
    else:
        width = _DEFAULT_WIDTH
    return max(_MIN_WIDTH, min(width, _MAX_WIDTH))
