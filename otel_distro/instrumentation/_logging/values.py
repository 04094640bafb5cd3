"""Values that come with log records, as attributes: their types kept, and nothing the application may still change."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import text_of

if TYPE_CHECKING:
    from opentelemetry.util.types import AnyValue

PLAIN = (str, bool, int, float)
_PLAIN_TYPES = frozenset((*PLAIN, bytes))
_DEEPEST = 10
_MOST = 2000


def snapshot(value: Any) -> AnyValue:
    """Return ``value`` as it is now: scalars, bytes, lists and dictionaries keep their types, anything else is its text.

    Containers are copied to a depth of 10 and 2,000 members in all; what is deeper becomes the text ``...``.
    """
    if type(value) in _PLAIN_TYPES:
        return value  # type: ignore[no-any-return]
    return _copy(value, [_MOST], 0)


def _copy(value: Any, room: list[int], depth: int) -> AnyValue:
    room[0] -= 1
    if value is None or isinstance(value, (*PLAIN, bytes)):
        return value
    if isinstance(value, dict):
        if depth >= _DEEPEST:
            return "..."
        # A dictionary of another thread may change while we go through it; made a list, it is one step.
        pairs = list(islice(dict.items(value), max(room[0], 0)))
        return {key if type(key) is str else text_of(key): _copy(member, room, depth + 1) for key, member in pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        if depth >= _DEEPEST:
            return "..."
        members = list(islice(value, max(room[0], 0)))
        return [_copy(member, room, depth + 1) for member in members]
    return text_of(value)
