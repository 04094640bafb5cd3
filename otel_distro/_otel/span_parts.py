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

if TYPE_CHECKING:
    from collections.abc import Callable

_IMMUTABLE = (int, bool, type(None))


def _lazy(base: Any, sample: Any, fields: set[str], parts: dict[str, Callable[[Any], Any]]) -> Any:
    """Return a subclass of ``base`` whose instances are made without ``__init__``.

    What ``sample``, an instance without limits, holds becomes attributes of the class, but for the
    ``fields``, which the maker of an instance sets, and ``parts``, made at their first access.
    """
    shared = {name: value for name, value in vars(sample).items() if name not in parts and name not in fields}

    def make(self: Any, name: str) -> Any:
        part = parts.get(name)
        if part is None:
            raise AttributeError(f"{base.__name__!r} object has no attribute {name!r}")
        # One step of the interpreter: another thread may be making it.
        return self.__dict__.setdefault(name, part(self))

    names = {"__slots__": (), "__getattr__": make, "__module__": base.__module__}
    return type(base.__name__, (base,), {**shared, **names})


def _lock(_: object) -> threading.Lock:
    return threading.Lock()


SDK_ATTRIBUTES: Any = BoundedAttributes
LazyAttributes = _lazy(BoundedAttributes, BoundedAttributes(immutable=False), {"_dict", "maxlen"}, {"_lock": _lock})
"""Attributes whose values may have any length. To be set: ``_dict``, ``maxlen``."""

SDK_LIST: Any = BoundedList
LazyList = _lazy(BoundedList, BoundedList(None), {"_dq"}, {"_dq": lambda made: deque(maxlen=made.most), "_lock": _lock})
"""Events or links. To be set: ``most``, the limit of their number."""


def is_unused(made: Any) -> bool:
    """Return whether a :data:`LazyList` was never read or written."""
    return "_dq" not in vars(made)


def verify() -> None:
    """Raise ``ValueError`` where the SDK's objects hold more that changes than is made here."""
    for base, known in ((BoundedAttributes(1), {"_dict", "_lock"}), (BoundedList(1), {"_dq", "_lock"})):
        held = {name for name, value in vars(base).items() if type(value) not in _IMMUTABLE}
        if held != known:
            raise ValueError(f"{type(base).__name__} holds {', '.join(sorted(held))}")
