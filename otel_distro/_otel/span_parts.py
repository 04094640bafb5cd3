"""Attributes, events and links of a span, made of what they need only when it is needed.

Most spans have no event and no link, and nothing takes the lock of their attributes. The classes
here are the SDK's own, with limits and zeros as attributes of the class; deque and lock are made at
the first access.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable

_IMMUTABLE = (int, bool, type(None))

UNSET = Status(StatusCode.UNSET)
"""The status of spans that get none."""

SDK_ATTRIBUTES: Any = BoundedAttributes
SDK_LIST: Any = BoundedList


def _lazy(base: Any, sample: Any, given: str, parts: dict[str, Callable[[Any], Any]]) -> Any:
    """Return a subclass of ``base`` whose instances are made without ``__init__``.

    What ``sample``, an instance without limits, holds becomes attributes of the class, but for
    those in ``given``, which the maker of an instance sets, and for ``parts``. At the first access
    to one of the parts all of them are made, and the instance becomes one of ``base``.
    """
    shared = {name: value for name, value in vars(sample).items() if name not in parts and name not in given.split()}

    def make(self: Any, name: str) -> Any:
        if name not in parts:
            raise AttributeError(f"{base.__name__!r} object has no attribute {name!r}")
        for part, new in parts.items():
            # One step of the interpreter: another thread may be making it.
            self.__dict__.setdefault(part, new(self))
        for field, value in shared.items():
            self.__dict__.setdefault(field, value)
        self.__class__ = base
        return self.__dict__[name]

    names = {"__slots__": (), "__getattr__": make, "__module__": base.__module__}
    return type(base.__name__, (base,), {**shared, **names})


LazyAttributes = _lazy(
    BoundedAttributes, BoundedAttributes(immutable=False), "_dict maxlen", {"_lock": lambda _: threading.Lock()}
)
"""Attributes whose values may have any length. The maker sets ``_dict`` and ``maxlen``."""

LazyList = _lazy(
    BoundedList,
    BoundedList(None),
    "",
    {"_dq": lambda made: deque(maxlen=made.most), "_lock": lambda _: threading.Lock()},
)
"""Events or links that nothing has used. The maker sets ``most``, the limit of their number."""


def verify(_: object = None) -> None:
    """Raise ``ValueError`` where the SDK's objects hold more that changes than is made here."""
    for base, known in ((BoundedAttributes(1), {"_dict", "_lock"}), (BoundedList(1), {"_dq", "_lock"})):
        held = {name for name, value in vars(base).items() if type(value) not in _IMMUTABLE}
        if held != known:
            raise ValueError(f"{type(base).__name__} holds {', '.join(sorted(held))}")
