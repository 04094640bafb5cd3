"""The stack trace is, byte for byte, what Python prints."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro.errors import frames, stack_trace
from tests.support.raising import error_of, fails_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Mute(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def plain() -> None:
    raise ValueError("two\nlines")


def wordless() -> None:
    raise ValueError


def mute() -> None:
    raise Mute


def chained() -> None:
    try:
        plain()
    except ValueError as error:
        raise TypeError("then") from error


def in_handler() -> None:
    try:
        plain()
    except ValueError:
        wordless()


def cut_off() -> None:
    try:
        plain()
    except ValueError:
        raise TypeError("alone") from None


def suggesting() -> None:
    sys.pth  # type: ignore[attr-defined]  # noqa: B018


def broken_source() -> None:
    compile("x = = 1", "<text>", "exec")


def deep(depth: int = 50) -> None:
    if depth:
        deep(depth - 1)
    raise ValueError("deep")


def shallow() -> None:
    deep(2)


def noted() -> None:
    error = ValueError("with a note")
    if sys.version_info >= (3, 11):
        error.add_note("the note")
    raise error


def grouped() -> None:
    group: Any = getattr(__builtins__, "ExceptionGroup", None) or __builtins__.get("ExceptionGroup", None)  # type: ignore[attr-defined]
    if group is None:
        plain()
    raise group("many", [error_of(plain), error_of(chained)])


WORKS = (
    plain, wordless, mute, chained, in_handler, cut_off, suggesting, broken_source, deep, shallow, noted, grouped
)  # fmt: skip


@pytest.mark.parametrize("work", WORKS, ids=lambda work: str(work.__name__))
def test_trace_is_that_of_python(work: Callable[[], None]) -> None:
    """With causes, groups, notes, repeats and suggestions, at the first time and from memory."""
    for _ in range(2):
        error = error_of(work)
        expected = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        assert stack_trace.stack_trace(error, frames.entries(error.__traceback__)) == expected


def test_exception_that_was_never_raised() -> None:
    """It has no frames, and its line is there."""
    assert stack_trace.stack_trace(ValueError("never"), []) == "ValueError: never\n"


def test_lines_of_another_file_of_the_same_name(tmp_path: Path) -> None:
    """What is remembered of one place is not shown of another."""
    first = fails_in(tmp_path / "a", "x = 1\nraise ValueError(x)\n")
    second = fails_in(tmp_path / "b", "y = 2\nraise ValueError(y)\n")
    for error, line in ((first, "raise ValueError(x)"), (second, "raise ValueError(y)")):
        assert line in stack_trace.stack_trace(error, frames.entries(error.__traceback__))


def test_limit_of_the_application_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sys.tracebacklimit`` is obeyed."""
    monkeypatch.setattr(sys, "tracebacklimit", 1, raising=False)
    error = error_of(shallow)
    assert stack_trace.stack_trace(error, frames.entries(error.__traceback__)) == "".join(
        traceback.format_exception(error)
    )
