"""A rate limit: rare work starts at once, frequent work is spread out."""

from __future__ import annotations

import time


class TokenBucket:
    """A token bucket that counts in seconds of work.

    It fills by ``share`` seconds a second up to ``burst``, and each piece of work takes out what it
    has cost. So rare work never waits, and constant work takes ``share`` of the time. One thread
    waits, others may spend; where they meet one update may be lost, which shifts the next piece of
    work by one.

    Args:
        share: Fraction of the time that constant work may take.
        burst: Seconds of work that the bucket holds; it starts full.
    """

    def __init__(self, share: float, burst: float) -> None:
        self._share = share
        self._burst = burst
        self._tokens = burst
        self._updated_at = time.monotonic()

    def wait(self, now: float) -> float:
        """Return the seconds until the next piece of work may start, 0 if it may start now."""
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._share)
        self._updated_at = now
        return max(0.0, -self._tokens / self._share)

    def spend(self, seconds: float) -> None:
        """Take out what a piece of work has cost."""
        self._tokens -= seconds
