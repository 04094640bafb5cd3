"""Values that raise, misreport their size or type, are endless, or have an unusual type."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections import UserDict, UserList, deque
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn


def _raise(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError("hostile")


def _exit(*args: Any, **kwargs: Any) -> NoReturn:
    raise SystemExit(9)


def _raising(base: type, how: Any = _raise) -> type:
    """Return a subclass of ``base`` whose methods raise, except those that create an instance."""
    methods = (
        "str",
        "repr",
        "format",
        "bytes",
        "len",
        "iter",
        "bool",
        "eq",
        "int",
        "float",
        "index",
        "getitem",
        "contains",
    )
    body = {f"__{method}__": how for method in methods}
    body |= dict.fromkeys(("items", "keys", "values", "encode", "copy", "get", "split", "__getattribute__"), how)
    return type(
        f"Raising{base.__name__.title()}", (base,), {**body, "__hash__": getattr(base, "__hash__", None) or how}
    )


class LyingText(str):
    """Equal to every object, with a huge length and a wrong encoding."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("good")

    def __len__(self) -> int:
        return 1 << 60

    def encode(self, *args: Any) -> Any:
        return "not bytes"

    def __str__(self) -> Any:
        return self


class RaisingHash(str):
    __slots__ = ()
    __hash__ = _exit


class Endless(Sequence[Any]):
    def __getitem__(self, index: Any) -> Any:
        return index

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1


class EndlessMapping(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        return key

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(Endless())

    def items(self) -> Any:
        return ((key, key) for key in Endless())


class BrokenMapping(EndlessMapping):
    def items(self) -> Any:
        return iter([1, (2, 3, 4), "ab"])


class RaisingMapping(EndlessMapping):
    items = _exit


class Faceless:
    """Pretends to be a text."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("hostile __class__")


class Nameless(type):
    """A metaclass whose classes have no name and cannot be compared."""

    __name__ = property(_exit)
    __module__ = property(_exit)
    __hash__ = _exit
    __eq__ = _exit
    __subclasscheck__ = _exit
    __instancecheck__ = _exit


class OfNameless(metaclass=Nameless):
    pass


class Elsewhere(dt.tzinfo):
    utcoffset = tzname = dst = _exit


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):
    YES = "yes"


def _circular() -> Any:
    mapping: dict[str, Any] = {}
    mapping["once"] = mapping
    mapping["twice"] = [mapping, mapping]
    return mapping


def _deep(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth // 2):
        value = {"k": [value]}
    return value


def _bomb() -> Any:
    """A few objects that are 10^30 values when expanded."""
    value: Any = "leaf"
    for _ in range(30):
        value = [value] * 10
    return value


HOSTILE: dict[str, Any] = {
    "lone surrogate": "\ud800 lone",
    "many surrogates": "a\udfff" * 100_000,
    "text of 5 MB": "x" * 5_000_000,
    "wide text of 5 MB": "\U0001f600" * 1_250_000,
    "int of 70 bits": 1 << 70,
    "negative int of 70 bits": -(1 << 70),
    "int of 100,000 digits": 10**100_000,
    "bytes of 5 MB": b"\xff" * 5_000_000,
    "bytearray": bytearray(b"\xff\x00"),
    "memoryview": memoryview(b"\xff\x00"),
    "nan": float("nan"),
    "infinity": float("-inf"),
    "3,000 deep": _deep(3000),
    "circular": _circular(),
    "bomb": _bomb(),
    "list of 100,000": [1] * 100_000,
    "list of texts of 100 KB": ["y" * 100_000] * 1000,
    "mapping of 100,000": {f"key {i}": "v" * 100 for i in range(100_000)},
    "set": {1, 2},
    "nones": [None, None, {"k": None}],
    "mixed": [1, "a", True, None, 1.5, b"b", [], {}, ()],
    "keys of other types": {1: 1, None: 2, b"b": 4, (1, 2): 5, "": 6, 1.5: 7, Color.RED: 8, 10**5000: 9},
    "text that lies": LyingText("true"),
    "text with a hash that exits": RaisingHash("x"),
    "raising str": _raising(str)("s"),
    "raising int": _raising(int)(7),
    "raising float": _raising(float)(0.5),
    "raising bytes": _raising(bytes)(b"b"),
    "raising list": _raising(list)([1, 2]),
    "raising tuple": _raising(tuple)((1, 2)),
    "raising dict": _raising(dict)({"a": 1}),
    "raising object": _raising(object)(),
    "exiting object": _raising(object, _exit)(),
    "exiting list": _raising(UserList, _exit),
    "user's list": UserList([1, "a"]),
    "user's dict": UserDict({"a": 1}),
    "deque": deque([1, 2]),
    "range": range(1 << 60),
    "generator": (i for i in range(3)),
    "proxy": MappingProxyType({"a": 1}),
    "endless sequence": Endless(),
    "endless mapping": EndlessMapping(),
    "broken mapping": BrokenMapping(),
    "exiting mapping": RaisingMapping(),
    "faceless": Faceless(),
    "of a nameless class": OfNameless(),
    "a nameless class": OfNameless,
    "enum": Color.RED,
    "int enum": Level.LOW,
    "str enum": Word.YES,
    "decimal": decimal.Decimal("1e999999"),
    "uuid": uuid.UUID(int=1),
    "time of nowhere": dt.datetime(2026, 1, 1, tzinfo=Elsewhere()),
    "exception": RuntimeError("x"),
    "module": dt,
    "function": _deep,
    "complex": 1 + 2j,
}
