"""Tells what the spool had to drop, and what is left at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_distro._runtime.diagnostics import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.spool.spool import Spool


class Losses:
    """Reports each loss once: in a line, and by the counters of its signal's delivery."""

    def __init__(self, spool: Spool, deliveries: Mapping[str, SpoolExporter]) -> None:
        self._spool = spool
        self._deliveries = deliveries
        self._reported: dict[tuple[str, str], int] = {}

    def forget(self) -> None:
        """Start from zero, in a forked child."""
        self._reported.clear()

    def report(self) -> None:
        """Report what was dropped since the last call. What was refused is reported where the answer is read."""
        for (signal, reason), total in self._spool.dropped().items():
            new = total - self._reported.get((signal, reason), 0)
            self._reported[signal, reason] = total
            delivery = self._deliveries.get(signal)
            if new > 0 and reason != "rejected":
                say(
                    f"{new} items of {signal} were dropped from the spool: {reason}", cause=f"dropped {signal} {reason}"
                )
                if delivery is not None:
                    delivery.lost(new, reason)

    def say_what_is_left(self, pending: Mapping[str, tuple[int, int, float]]) -> None:
        """Say what waits at the end of the process."""
        left = {signal: items for signal, (items, _, _) in pending.items() if items}
        if left:
            counts = ", ".join(f"{items} of {signal}" for signal, items in left.items())
            fate = "kept on disk for the next start" if self._spool.durable else "lost"
            say(f"not delivered before the end of the process, {fate}: {counts}", cause="undelivered")
