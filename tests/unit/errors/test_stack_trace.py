"""The stack trace equals, byte for byte, what Python prints."""

from __future__ import annotations

import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro.errors import frames, stack_trace
from tests.support.raising import error_of, fails_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Unprintable(Exception):
    """Raises in ``str()``."""

    def __str__(self) -> str:
        raise RuntimeError


def plain() -> None:
    raise ValueError("two\nlines")


def without_message() -> None:
    raise ValueError


def unprintable() -> None:
    raise Unprintable


def chained() -> None:
    try:
        plain()
    except ValueError as error:
        raise TypeError("then") from error


def in_handler() -> None:
    try:
        plain()
    except ValueError:
        without_message()


def without_context() -> None:
    try:
        plain()
    except ValueError:
        raise TypeError("alone") from None


def with_suggestion() -> None:
    sys.pth  # type: ignore[attr-defined]  # noqa: B018


def syntax_error() -> None:
    compile("x = = 1", "<text>", "exec")


def deep(depth: int = 50) -> None:
    if depth:
        deep(depth - 1)
    raise ValueError("deep")


def shallow() -> None:
    deep(2)


def with_note() -> None:
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
    plain, without_message, unprintable, chained, in_handler, without_context, with_suggestion, syntax_error, deep, shallow, with_note, grouped
)  # fmt: skip


@pytest.mark.parametrize("work", WORKS, ids=lambda work: str(work.__name__))
def test_stack_trace_equals_format_exception(work: Callable[[], None]) -> None:
    """With causes, groups, notes, repeats and suggestions; at first and from the cache."""
    for _ in range(2):
        error = error_of(work)
        expected = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        assert stack_trace.stack_trace(error, frames.traceback_entries(error.__traceback__)) == expected


def test_stack_trace_of_exception_never_raised_is_one_line() -> None:
    """It has no frames, only the last line."""
    assert stack_trace.stack_trace(ValueError("never"), []) == "ValueError: never\n"


def test_cached_frame_of_another_file_is_not_shown(tmp_path: Path) -> None:
    """Two files of the same name in different folders have their own source lines."""
    first = fails_in(tmp_path / "a", "x = 1\nraise ValueError(x)\n")
    second = fails_in(tmp_path / "b", "y = 2\nraise ValueError(y)\n")
    for error, line in ((first, "raise ValueError(x)"), (second, "raise ValueError(y)")):
        assert line in stack_trace.stack_trace(error, frames.traceback_entries(error.__traceback__))


def test_tracebacklimit_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sys.tracebacklimit`` of the application limits the frames."""
    monkeypatch.setattr(sys, "tracebacklimit", 1, raising=False)
    error = error_of(shallow)
    assert stack_trace.stack_trace(error, frames.traceback_entries(error.__traceback__)) == "".join(
        traceback.format_exception(error)
    )


def test_traceback_with_a_rewritten_line_is_not_taken_for_the_original() -> None:
    """A template engine shows the line of its template in the frame of the same code."""
    error = error_of(plain)
    original = error.__traceback__
    assert original is not None
    moved = types.TracebackType(original.tb_next, original.tb_frame, original.tb_lasti, original.tb_lineno + 1)
    for tb in (original, moved, original):
        error.__traceback__ = tb
        expected = "".join(traceback.format_exception(type(error), error, tb))
        assert stack_trace.stack_trace(error, frames.traceback_entries(tb)) == expected


def test_exceptions_on_one_way_have_each_their_message_and_class() -> None:
    """They share the text of the frames only."""
    for failure in (ValueError("one"), ValueError("two"), KeyError("three"), ValueError()):
        with pytest.raises(type(failure)) as caught:
            raise failure
        error = caught.value
        entries = frames.traceback_entries(error.__traceback__)
        path = frames.path_of(entries)
        expected = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        assert stack_trace.stack_trace(error, entries, path) == expected
        kind = type(error).__name__
        assert frames.fingerprint(kind, error, entries, path) == frames.fingerprint_of(kind, path.parts)
