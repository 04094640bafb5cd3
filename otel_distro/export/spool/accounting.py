"""What waits in the spool, and what was lost from it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otel_distro._runtime.diagnostics import say

if TYPE_CHECKING:
    from otel_distro.export.spool.segment import Record


class SpoolAccounting:
    """What waits of each signal, and what was lost since the start, by signal and reason."""

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()

    def add(self, record: Record) -> None:
        """Count a record that waits from here on."""
        self.items[record.signal] += record.count
        self.bytes[record.signal] += record.length

    def remove(self, record: Record) -> None:
        """Count a record that no longer waits here."""
        self.items[record.signal] -= record.count
        self.bytes[record.signal] -= record.length

    def settle(self, away: Counter[tuple[str, str]]) -> None:
        """Count no longer, by signal and ``items`` or ``bytes``, what was given up."""
        for (signal, what), amount in away.items():
            counter = self.items if what == "items" else self.bytes
            counter[signal] -= amount

    def clear(self) -> None:
        """Start from zero, in a forked child."""
        for counter in (self.items, self.bytes, self.dropped):
            counter.clear()

    def lose(self, signal: str, count: int, reason: str) -> None:
        """Count items that are lost for ``reason`` and say so."""
        self.dropped[signal or "unknown", reason] += count
        say(
            f"lost from the spool: {count} items of {signal or 'unknown signal'} ({reason})",
            cause=f"spool {reason} {signal}",
        )
