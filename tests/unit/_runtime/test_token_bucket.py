"""How often work may be done at once."""

from __future__ import annotations

import time

from otel_distro._runtime.token_bucket import TokenBucket


def test_saved_is_spent_first() -> None:
    """At first nothing has to wait; then each piece waits until its share of the time is over; a pause saves up again."""
    allowance = TokenBucket(share=0.01, most=0.003)
    now = time.monotonic()
    waits = []
    for _ in range(6):
        waits.append(round(allowance.wait(now), 6))
        allowance.spend(0.001)
    assert waits == [0, 0, 0, 0, 0.1, 0.2]
    now += 0.3
    assert round(allowance.wait(now), 6) == 0
    # A long pause saves up no more than the most.
    now += 1000
    for _ in range(4):
        assert allowance.wait(now) == 0
        allowance.spend(0.001)
    assert round(allowance.wait(now), 6) == 0.1


def test_share_is_kept() -> None:
    """Who does a piece whenever it may does its share, whatever the pieces cost."""
    for cost in (0.0001, 0.001, 0.05):
        allowance = TokenBucket(share=0.02, most=0.002)
        start = now = time.monotonic()
        spent = 0.0
        while now < start + 100:
            now += max(0.005, allowance.wait(now))
            allowance.spend(cost)
            spent += cost
        # The last piece may end at the very moment that it may: rounding decides.
        assert spent <= 0.02 * (now - start) + 0.002 + cost + 1e-6
