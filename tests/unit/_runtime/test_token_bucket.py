"""How often work may start at once."""

from __future__ import annotations

import time

from otel_distro._runtime.token_bucket import TokenBucket


def test_token_bucket_delays_after_the_burst() -> None:
    """At first nothing waits; then each piece waits for its share of time; idle time refills."""
    bucket = TokenBucket(share=0.01, burst=0.003)
    now = time.monotonic()
    waits = []
    for _ in range(6):
        waits.append(round(bucket.wait(now), 6))
        bucket.spend(0.001)
    assert waits == [0, 0, 0, 0, 0.1, 0.2]
    now += 0.3
    assert round(bucket.wait(now), 6) == 0
    # A long pause saves up no more than the most.
    now += 1000
    for _ in range(4):
        assert bucket.wait(now) == 0
        bucket.spend(0.001)
    assert round(bucket.wait(now), 6) == 0.1


def test_token_bucket_under_constant_work_keeps_the_share() -> None:
    """Work that starts whenever it may takes its share of the time, whatever the pieces cost."""
    for cost in (0.0001, 0.001, 0.05):
        bucket = TokenBucket(share=0.02, burst=0.002)
        start = now = time.monotonic()
        spent = 0.0
        while now < start + 100:
            now += max(0.005, bucket.wait(now))
            bucket.spend(cost)
            spent += cost
        # The last piece may end at the very moment that it may: rounding decides.
        assert spent <= 0.02 * (now - start) + 0.002 + cost + 1e-6
