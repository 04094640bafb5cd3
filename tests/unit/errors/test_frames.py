"""The fingerprint is the same as long as the failure is, and another one where it is another."""

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
    """Return its fingerprint."""
    return frames.fingerprint(type(error).__qualname__, error, frames.entries(error.__traceback__))


def test_a_deploy_does_not_change_it(tmp_path: Path) -> None:
    """Neither another folder nor lines that moved, nor values in the message, make it another error."""
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
def test_another_failure_has_another_one(tmp_path: Path, source: str, name: str) -> None:
    """Class, function and file each make a difference."""
    assert fingerprint(fails_in(tmp_path / "a", PROGRAM)) != fingerprint(fails_in(tmp_path / "b", source, name))


def test_depth_of_a_recursion_does_not_matter(tmp_path: Path) -> None:
    """A function counts once, however often it called itself."""
    shallow, deep = (fails_in(tmp_path, RECURSION.replace("DEPTH", depth)) for depth in ("2", "90"))
    assert fingerprint(shallow) == fingerprint(deep)


def test_frames_of_libraries_do_not_matter() -> None:
    """Only own frames count; where there are none, all do."""
    own = error_of(lambda: json.loads("{"))
    names = [frames.own_name(entry.tb_frame.f_code.co_filename) for entry in frames.entries(own.__traceback__)]
    assert set(names) == {"raising.py", Path(__file__).name, ""}
    assert frames.own_name(os.__file__) == ""
    assert frames.own_name(pytest.__file__) == ""
    assert frames.own_name(frames.__file__) == ""
    assert frames.own_name("<frozen runpy>") == ""
    assert frames.own_name("<stdin>") == "<stdin>"

    own.__traceback__ = frames.entries(own.__traceback__)[-1]
    assert frames.thrower(frames.entries(own.__traceback__)) == "json.decoder." + (
        "JSONDecoder.raw_decode" if sys.version_info >= (3, 11) else "raw_decode"
    )
    assert len(fingerprint(own)) == 16


def test_the_function_that_raised_is_the_applications() -> None:
    """Of a failure inside a library it is the function that called the library."""
    error = error_of(lambda: json.loads("{"))
    assert frames.thrower(frames.entries(error.__traceback__)).startswith(__name__)
    assert frames.thrower([]) == ""


def test_it_stays_bounded_for_very_deep_stacks(tmp_path: Path) -> None:
    """Of a traceback of many thousand frames, some thousands are looked at."""
    error = fails_in(tmp_path, "def deep():\n    deep()\n\ndeep()\n")
    assert isinstance(error, RecursionError)
    for _ in range(5000):
        error = error_of(raise_again, error)
    assert len(frames.entries(error.__traceback__)) == 2000
    assert fingerprint(error)


def raise_again(error: BaseException) -> None:
    """Raise it once more, which makes its traceback longer."""
    raise error
