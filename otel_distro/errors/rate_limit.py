"""Rate limit by key: admit the first, then one per minute with the number suppressed between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

WINDOW: Final = 60.0
"""Seconds in which one event of a key is admitted."""
_MAX_KEYS: Final = 2000


class Limiter:
    """Admits one event per key and window. Forgets all keys when there are 2,000."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._entries: dict[Hashable, list[float]] = {}
        """Key -> end of its window (monotonic clock), number of events suppressed in it."""

    def admit(self, key: Hashable) -> int | None:
        """Return None to suppress the event, else the number suppressed since the last admitted."""
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is not None and now < entry[0]:
            entry[1] += 1
            return None
        if len(self._entries) >= _MAX_KEYS:
            self._entries.clear()
        self._entries[key] = [now + self._window, 0]
        return int(entry[1]) if entry is not None else 0

    def would_admit(self, key: Hashable) -> bool:
        """Return whether :meth:`admit` would return a number now."""
        entry = self._entries.get(key)
        return entry is None or time.monotonic() >= entry[0]
