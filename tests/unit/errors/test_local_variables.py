"""Local variables are shown bounded and redacted, without running code of the application."""

from __future__ import annotations

import datetime as dt
import decimal
import pathlib
from typing import Any

from otel_distro.errors import frames
from otel_distro.errors.local_variables import local_variables
from tests.support.raising import error_of


class Trap:
    """Records every method of it that is called."""

    ran: list[str] = []  # noqa: RUF012 - one list for all

    def __init__(self) -> None:
        self.number = 3
        self.password = "hunter2"

    def __repr__(self) -> str:
        self.ran.append("repr")
        raise SystemExit

    def __getattribute__(self, name: str) -> Any:
        if name not in ("ran", "number", "password"):
            Trap.ran.append(name)
        return super().__getattribute__(name)

    __str__ = __len__ = __iter__ = __hash__ = __eq__ = __repr__  # type: ignore[assignment]


class Text(str):
    """A subclass of a built-in type."""

    __slots__ = ()

    def __repr__(self) -> str:
        raise RuntimeError


def shown(work: Any, *args: Any) -> list[str]:
    """Return the lines of the innermost frame of the error that ``work`` raises."""
    lines = local_variables(frames.traceback_entries(error_of(work, *args).__traceback__)).splitlines()
    ends = [number for number, line in enumerate(lines[1:], 1) if not line.startswith(" ")]
    return lines[: ends[0]] if ends else lines


def with_plain_values() -> None:
    number, text, raw, nothing, truth = 3, "abc", b"\x00", None, True  # noqa: F841
    day, price, file = dt.date(2026, 1, 2), decimal.Decimal("1.5"), pathlib.Path("/data")  # noqa: F841
    found = {"a": [1, (2,)], 3: {4}}  # noqa: F841
    raise ValueError


def test_built_in_values_are_shown_by_repr() -> None:
    """Numbers, texts, dates, paths and containers of them."""
    head, *lines = shown(with_plain_values)
    assert head.startswith("with_plain_values (test_local_variables.py:")
    assert lines == [
        "  number = 3",
        "  text = 'abc'",
        "  raw = b'\\x00'",
        "  nothing = None",
        "  truth = True",
        "  day = datetime.date(2026, 1, 2)",
        "  price = Decimal('1.5')",
        "  file = PosixPath('/data')",
        "  found = {'a': [1, (2)], 3: {4}}",
    ]


def with_secrets() -> None:
    password = "hunter2"  # noqa: F841
    order = {"id": 5, "card_number": "4111 1111 1111 1111", "Authorization": "Bearer abcdefgh12345678"}  # noqa: F841
    text = "postgres://app:hunter2@db/shop"  # noqa: F841
    trap = Trap()  # noqa: F841
    raise ValueError


def test_secrets_are_redacted_by_name_and_form() -> None:
    """By the name of a variable, a key or an attribute, and by patterns."""
    text = "\n".join(shown(with_secrets))
    assert "hunter2" not in text
    assert "4111" not in text
    assert "abcdefgh" not in text
    assert "'id': 5" in text
    assert "  password = [redacted]" in text


def with_traps() -> None:
    trap, many, text = Trap(), [Trap()] * 3, Text("abc")  # noqa: F841
    raise ValueError


def test_objects_are_shown_without_running_their_code() -> None:
    """Objects are shown by class and attributes; none of their methods is called."""
    Trap.ran.clear()
    lines = shown(with_traps)
    assert Trap.ran == []
    assert lines[1] == f"  trap = <{__name__}.Trap number=3, password=[redacted]>"[:210]
    assert lines[3] == f"  text = <{__name__}.Text>"


def with_large_values() -> None:
    long, huge = "x" * 10_000, 10**100_000  # noqa: F841
    deep: list[Any] = []
    deep.append(deep)
    wide = dict.fromkeys(range(10_000))  # noqa: F841
    for number in range(60):
        exec(f"name_{number} = {number}")
    raise ValueError


def test_large_values_and_deep_stacks_are_truncated() -> None:
    """Long, huge, wide and circular values are truncated, and so is the whole text."""
    for line in shown(with_large_values):
        assert len(line) <= 260
    assert any("and 9990 more" in line or line.endswith("…") for line in shown(with_large_values))

    def recurse(depth: int) -> None:
        """Hold a large value in every frame."""
        held = ["x" * 150] * 9  # noqa: F841
        if depth:
            recurse(depth - 1)
        with_large_values()

    assert len(local_variables(frames.traceback_entries(error_of(recurse, 60).__traceback__))) <= 8000
