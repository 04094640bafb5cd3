"""``otel-distro redact --dry-run FILE``: list what redaction would hide in a file, masked."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

from otel_distro import settings
from otel_distro.cli.messages import say
from otel_distro.redaction import Redactor
from otel_distro.redaction.sql import replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_distro.redaction.text import Finding

_MAX_KEY_LINES: Final = 200
_MIN_LENGTH_FOR_HINT: Final = 12


def main(argv: list[str]) -> int:
    """Print what would be hidden (``--dry-run``), or the text redacted; 2 if it cannot be read."""
    options = _parse(argv)
    if settings.OTEL_DISTRO_REDACT.get() == "off":
        say(f"redact: {settings.OTEL_DISTRO_REDACT.name} is off; this shows the result of on", code="OD811")
    redactor = Redactor.from_environment({**os.environ, settings.OTEL_DISTRO_REDACT.name: "on"})
    try:
        if options.file == "-":
            if isinstance(sys.stdin, TextIOWrapper):
                sys.stdin.reconfigure(errors="replace")
            return _run(redactor, sys.stdin, options)
        with open(options.file, encoding="utf-8", errors="replace") as lines:
            return _run(redactor, lines, options)
    except BrokenPipeError:
        # The reader has closed the pipe; the interpreter must not try to write the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        say(f"redact: {options.file}: {error.strerror or error}", code="OD812")
        return 2


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro redact",
        description="Print a text with its secrets hidden, as in all exported telemetry. The settings "
        "OTEL_DISTRO_REDACT_KEYS, _KEEP_KEYS, _PATTERNS and _EMAIL apply here too.",
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be hidden: place, kind, first letters")
    parser.add_argument("file", metavar="FILE", help="the text, in UTF-8; - for standard input")
    return parser.parse_args(argv)


def _run(redactor: Redactor, lines: Iterable[str], options: argparse.Namespace) -> int:
    kinds: Counter[str] = Counter()
    hit = number = 0
    for number, text in _records(lines):
        findings = redactor.find(text)
        hidden = replaced(text, [(found.start, found.end, found.replacement) for found in findings])
        if not options.dry_run:
            _write(hidden)
            continue
        hit += bool(findings)
        kinds.update(found.kind for found in findings)
        for found in findings:
            line, column = _place(text, number, found.start)
            _write(f"{options.file}:{line}:{column}: {found.kind}: {_masked(text, found)}\n")
        if findings:
            _write("    " + hidden.rstrip("\n").replace("\n", "\n    ") + "\n")
    if options.dry_run:
        _write(_summary(kinds, hit))
    return 0


def _records(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield each record with its line number. A private key of several lines is one record."""
    held: list[str] = []
    number = 0
    for number, line in enumerate(lines, 1):
        held.append(line)
        if not _is_open("".join(held)) or len(held) >= _MAX_KEY_LINES:
            yield number - len(held) + 1, "".join(held)
            held = []
    if held:
        yield number - len(held) + 1, "".join(held)


def _is_open(text: str) -> bool:
    """Return whether a private key begins in the text and does not end there."""
    begun = text.rfind("-----BEGIN ")
    return begun >= 0 and "PRIVATE KEY" in text[begun : begun + 60] and "-----END" not in text[begun:]


def _place(text: str, number: int, start: int) -> tuple[int, int]:
    before = text[:start]
    return number + before.count("\n"), start - before.rfind("\n")


def _masked(text: str, found: Finding) -> str:
    """Return the length of a secret and, of a long one, two letters: enough to recognise it."""
    secret = text[found.start : found.end]
    shown = secret[:2] if len(secret) >= _MIN_LENGTH_FOR_HINT and secret[:2].isprintable() else ""
    return f"{shown}… ({len(secret)} characters)"


def _summary(kinds: Counter[str], hit: int) -> str:
    if not kinds:
        return "nothing would be hidden\n"
    listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    total = sum(kinds.values())
    return f"{total} would be hidden in {hit} {'line' if hit == 1 else 'lines'}: {listed}\n"


def _write(text: str) -> None:
    sys.stdout.write(
        text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8", "replace")
    )
