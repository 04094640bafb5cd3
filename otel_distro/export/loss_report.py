"""Reports what the spool had to drop, and what is unsent at the end of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_distro import settings
from otel_distro._runtime.diagnostics import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.spool.spool import Spool

_REJECTED = "rejected"
_EXPLANATIONS = {
    "size": f" (more than {settings.OTEL_DISTRO_SPOOL_MAX_BYTES.name}; the oldest go first)",
    "age": f" (older than {settings.OTEL_DISTRO_SPOOL_MAX_AGE.name})",
    "memory_full": " (the disk does not accept them, and the 32 MiB in memory are full)",
    "corrupt": " (damaged on the disk)",
}


class LossReport:
    """Reports each loss once: in a line on stderr, and in the counters of the signal's exporter.

    Args:
        spool: The spool, which counts its losses.
        exporters: The exporter of each signal.
    """

    def __init__(self, spool: Spool, exporters: Mapping[str, SpoolExporter]) -> None:
        self._spool = spool
        self._exporters = exporters
        self._reported: dict[tuple[str, str], int] = {}

    def reset_after_fork(self) -> None:
        """Start from zero in a forked child."""
        self._reported.clear()

    def report(self) -> None:
        """Report what was dropped since the last call, except rejected items."""
        for (signal, reason), total in self._spool.dropped().items():
            new = total - self._reported.get((signal, reason), 0)
            self._reported[signal, reason] = total
            exporter = self._exporters.get(signal)
            if new > 0 and reason != _REJECTED:
                explanation = _EXPLANATIONS.get(reason, "")
                say(
                    f"{new} items of {signal} were dropped from the spool: {reason}{explanation}",
                    cause=f"dropped {signal} {reason}",
                    code="OD310",
                )
                if exporter is not None:
                    exporter.count_dropped(new, reason)

    def report_unsent(self, pending: Mapping[str, tuple[int, int, float]]) -> None:
        """Report what waits at the end of the process, and the last losses."""
        self.report()
        left = {signal: items for signal, (items, _, _) in pending.items() if items}
        if left:
            counts = ", ".join(f"{items} of {signal}" for signal, items in left.items())
            fate = "kept on disk for the next start" if self._spool.durable else "lost"
            say(
                f"not delivered before the end of the process, {fate}: {counts}",
                cause="undelivered",
                code="OD311",
            )
