"""The fingerprint is the same for the same failure, and different for another failure."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from otel_distro.errors import frames
from tests.support.raising import error_of, fails_in

PROGRAM = """
def pay(order):
    return order["price"]

def main():
    pay({})

main()
"""
RECURSION = """
def walk(depth):
    if depth:
        walk(depth - 1)
    raise ValueError

walk(DEPTH)
"""


def fingerprint(error: BaseException) -> str:
    """Return the fingerprint of ``error``."""
    return frames.fingerprint(type(error).__qualname__, error, frames.traceback_entries(error.__traceback__))


def test_fingerprint_survives_a_deploy(tmp_path: Path) -> None:
    """Another folder, moved lines and other values in the message do not change it."""
    first = fails_in(tmp_path / "releases" / "2026-01-01", PROGRAM)
    moved = fails_in(tmp_path / "releases" / "2026-02-02", "# a new comment\n\n\n" + PROGRAM.replace("price", "sum"))
    assert str(first) != str(moved)
    assert fingerprint(first) == fingerprint(moved)
    assert len(fingerprint(first)) == 16
    assert int(fingerprint(first), 16)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (PROGRAM.replace('order["price"]', "int('x')"), "shop.py"),
        (PROGRAM.replace("pay", "settle"), "shop.py"),
        (PROGRAM, "bank.py"),
    ],
    ids=["class", "function", "file"],
)
def test_fingerprint_differs_by_class_function_and_file(tmp_path: Path, source: str, name: str) -> None:
    """A failure with another class, function or file has another fingerprint."""
    assert fingerprint(fails_in(tmp_path / "a", PROGRAM)) != fingerprint(fails_in(tmp_path / "b", source, name))


def test_fingerprint_ignores_recursion_depth(tmp_path: Path) -> None:
    """A function counts once, also if it called itself."""
    shallow, deep = (fails_in(tmp_path, RECURSION.replace("DEPTH", depth)) for depth in ("2", "90"))
    assert fingerprint(shallow) == fingerprint(deep)


def test_library_frames_count_only_without_app_frames() -> None:
    """Only frames of the application count; where there are none, all frames do."""
    own = error_of(lambda: json.loads("{"))
    names = [
        frames.app_file_name(entry.tb_frame.f_code.co_filename) for entry in frames.traceback_entries(own.__traceback__)
    ]
    assert set(names) == {"raising.py", Path(__file__).name, ""}
    assert frames.app_file_name(os.__file__) == ""
    assert frames.app_file_name(pytest.__file__) == ""
    assert frames.app_file_name(frames.__file__) == ""
    assert frames.app_file_name("<frozen runpy>") == ""
    assert frames.app_file_name("<stdin>") == "<stdin>"

    own.__traceback__ = frames.traceback_entries(own.__traceback__)[-1]
    assert frames.raising_function(frames.traceback_entries(own.__traceback__)) == "json.decoder." + (
        "JSONDecoder.raw_decode" if sys.version_info >= (3, 11) else "raw_decode"
    )
    assert len(fingerprint(own)) == 16


def test_raising_function_is_the_applications() -> None:
    """For a failure inside a library it is the function that called the library."""
    error = error_of(lambda: json.loads("{"))
    assert frames.raising_function(frames.traceback_entries(error.__traceback__)).startswith(__name__)
    assert frames.raising_function([]) == ""


def test_deep_traceback_is_read_up_to_the_limit(tmp_path: Path) -> None:
    """Of a traceback of many thousand frames, 2,000 are read."""
    error = fails_in(tmp_path, "def deep():\n    deep()\n\ndeep()\n")
    assert isinstance(error, RecursionError)
    for _ in range(5000):
        error = error_of(raise_again, error)
    assert len(frames.traceback_entries(error.__traceback__)) == 2000
    assert fingerprint(error)


def raise_again(error: BaseException) -> None:
    """Raise ``error`` again, which makes its traceback longer."""
    raise error


def test_paths_are_bounded_and_long_ones_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is emptied when it is full, and a deep recursion is not kept in it."""
    monkeypatch.setattr(frames, "_MAX_PATHS", 3)
    frames._paths.clear()
    for number in range(10):
        error = fails_in(tmp_path / str(number), PROGRAM)
        assert fingerprint(error) == fingerprint(error)
        assert 0 < len(frames._paths) <= 3
    deep = fails_in(tmp_path / "deep", RECURSION.replace("DEPTH", "300"))
    before = dict(frames._paths)
    assert len(fingerprint(deep)) == 16
    assert frames._paths == before
