"""Copy values of log records into attributes: types are kept, later changes are not seen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import text_of

if TYPE_CHECKING:
    from opentelemetry.util.types import AnyValue

PLAIN = (str, bool, int, float)
_PLAIN_TYPES = frozenset((*PLAIN, bytes))
_MAX_DEPTH = 10
_MAX_MEMBERS = 2000


def snapshot(value: Any) -> AnyValue:
    """Return a copy of ``value`` in attribute types.

    Scalars, bytes, lists and dictionaries keep their types; anything else becomes its text.
    Containers are copied to a depth of 10 and 2,000 members in all; deeper ones become ``...``.
    """
    if type(value) in _PLAIN_TYPES:
        return value  # type: ignore[no-any-return]
    return _copy(value, [_MAX_MEMBERS], 0)


def _copy(value: Any, members_left: list[int], depth: int) -> AnyValue:
    members_left[0] -= 1
    if value is None or isinstance(value, (*PLAIN, bytes)):
        return value
    if isinstance(value, dict):
        if depth >= _MAX_DEPTH:
            return "..."
        # Other threads may change the dictionary; building a list of it is one step under the GIL.
        pairs = list(islice(dict.items(value), max(members_left[0], 0)))
        return {
            key if type(key) is str else text_of(key): _copy(member, members_left, depth + 1) for key, member in pairs
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        if depth >= _MAX_DEPTH:
            return "..."
        members = list(islice(value, max(members_left[0], 0)))
        return [_copy(member, members_left, depth + 1) for member in members]
    return text_of(value)
