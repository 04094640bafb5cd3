"""Counts what waits in the spool and what it lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_distro.export.spool.segment import Record

UNKNOWN_SIGNAL = "unknown"
"""The signal of losses in damaged regions that no longer name theirs."""


class SpoolAccounting:
    """Items and bytes that wait, by signal, and items lost so far, by signal and reason."""

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()

    def add(self, record: Record) -> None:
        """Count a record that waits from now on."""
        self.items[record.signal] += record.count
        self.bytes[record.signal] += record.length

    def remove(self, records: Iterable[Record]) -> None:
        """Stop counting records: they were acknowledged or dropped, or their file is gone."""
        for record in records:
            self.items[record.signal] -= record.count
            self.bytes[record.signal] -= record.length

    def drop(self, signal: str, count: int, reason: str) -> None:
        """Count lost items. The loss report prints them."""
        self.dropped[signal or UNKNOWN_SIGNAL, reason] += count

    def reset_after_fork(self) -> None:
        """Start from zero in a forked child."""
        for counter in (self.items, self.bytes, self.dropped):
            counter.clear()


class ReleasedSegments:
    """Released segments that no process has adopted yet: they still count as waiting here."""

    def __init__(self, accounting: SpoolAccounting) -> None:
        self._accounting = accounting
        self._contents: dict[str, dict[str, tuple[int, int]]] = {}

    def add(self, name: str, records: Iterable[Record]) -> None:
        """Note that a segment with these waiting records was released."""
        contents: dict[str, tuple[int, int]] = {}
        for record in records:
            items, size = contents.get(record.signal, (0, 0))
            contents[record.signal] = (items + record.count, size + record.length)
        self._contents[name] = contents

    def remove(self, name: str) -> None:
        """Stop counting a segment that was adopted or deleted, if it is one of these."""
        for signal, (items, size) in self._contents.pop(name, {}).items():
            self._accounting.items[signal] -= items
            self._accounting.bytes[signal] -= size

    def retain(self, names: set[str]) -> None:
        """Stop counting the segments that are not among ``names``."""
        for name in [name for name in self._contents if name not in names]:
            self.remove(name)

    def oldest(self, signal: str) -> float:
        """Return the Unix time of the oldest segment with items of a signal, 0 without one."""
        names = [name for name, contents in self._contents.items() if contents.get(signal, (0, 0))[0]]
        return int(min(names).partition("-")[0]) / 1e9 if names else 0.0

    def reset_after_fork(self) -> None:
        """Forget all segments in a forked child: they are the parent's."""
        self._contents.clear()
