"""How often the same thing is told: at once, then once a minute with the number of those between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

WINDOW: Final = 60.0
_MOST: Final = 2000


class Limiter:
    """Keeps the time and number of what was told, by key; the newest two thousand keys."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._told: dict[Hashable, list[float]] = {}

    def take(self, key: Hashable) -> int | None:
        """Return None where the same was told less than a window ago, else how many were held back since then."""
        now = time.monotonic()
        entry = self._told.get(key)
        if entry is not None and now < entry[0]:
            entry[1] += 1
            return None
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[key] = [now + self._window, 0]
        return int(entry[1]) if entry is not None else 0

    def would_tell(self, key: Hashable) -> bool:
        """Return whether :meth:`take` would not return None."""
        entry = self._told.get(key)
        return entry is None or time.monotonic() >= entry[0]
