"""How often work may be done that is worth doing at once, but not all the time."""

from __future__ import annotations

import time


class TokenBucket:
    """A share of the time, of which up to ``most`` seconds are saved while nothing is spent.

    What comes now and then is never kept waiting; what goes on without a pause is spread out until it costs ``share``.
    One thread waits; others may spend. Where they meet a step may be lost, which shifts the next piece of work by one.
    """

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = most
        self._saved = most
        self._at = time.monotonic()

    def wait(self, now: float) -> float:
        """Return the seconds until the next piece of work may be done, 0 if it may be now."""
        self._saved = min(self._most, self._saved + (now - self._at) * self._share)
        self._at = now
        return max(0.0, -self._saved / self._share)

    def spend(self, seconds: float) -> None:
        """Take off what a piece of work has cost."""
        self._saved -= seconds
