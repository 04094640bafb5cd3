"""``otel-distro drain``: send what waits for the endpoint of the ``OTEL_*`` variables."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from otel_distro import environment, settings
from otel_distro._otel import sdk
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.terminal import clean
from otel_distro.cli.messages import say_conflict
from otel_distro.export.build import endpoints, shared_spool, spool_exporters
from otel_distro.export.self_metrics import ExporterMetrics
from otel_distro.export.send.delivery import EndpointHealth
from otel_distro.export.spool.inspection import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.spool.spool import Spool

_DEFAULT_TIMEOUT_S: Final = 60.0
_INTERRUPTED_STATUS: Final = 130
_REJECTED: Final = "rejected"


def main(argv: list[str]) -> int:
    """Send what waits and print a line for each signal. What is unsent stays on the disk.

    Returns:
        0 if nothing is left, 1 if something is left, which the lines explain, 2 for an invalid
        argument, 130 when interrupted.
    """
    options = _parse(argv)
    for line in environment.prepare(os.environ):
        say(line, code="OD201")
    if say_conflict("drain: nothing was sent", ", then otel-distro drain again"):
        return 1
    found = endpoints()
    # The settings that keep new telemetry off the disk do not matter: what is there is to be sent.
    ignored = (settings.OTEL_DISTRO_SPOOL.name, settings.OTEL_DISTRO_SPOOL_MAX_BYTES.name)
    spool = shared_spool(found, "otel-distro drain", {k: v for k, v in os.environ.items() if k not in ignored})
    drain = _Drain(spool, spool_exporters(found, spool))
    try:
        with sdk.suppressed():
            drain.run(time.monotonic() + options.timeout)
    except KeyboardInterrupt:
        return _INTERRUPTED_STATUS
    finally:
        drain.close()
    return drain.report()


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro drain",
        description="Send the telemetry that ended processes have left on this machine for the endpoint of the "
        "OTEL_EXPORTER_OTLP_* variables. Run it as the user of those processes and with their variables.",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_DEFAULT_TIMEOUT_S,
        metavar="S",
        help="give up after S seconds (default: %(default)g)",
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


class _Drain:
    """Sends everything in a spool, and counts the results by signal."""

    def __init__(self, spool: Spool, exporters: Mapping[str, SpoolExporter]) -> None:
        self._spool = spool
        self._exporters = exporters
        self._counts = {signal: _Counts(signal) for signal in exporters}
        self._health: dict[str, _DrainHealth] = {}
        self._in_time = True
        self._unsent: Counter[str] = Counter()
        for signal, exporter in exporters.items():
            origin = exporter.health.origin
            exporter.health = self._health.setdefault(origin, _DrainHealth(origin, spool))
            exporter.report_to(self._counts[signal])

    def run(self, deadline: float) -> None:
        """Send until nothing waits, every endpoint has failed or ``deadline`` has passed."""
        active: list[SpoolExporter] = []
        while self._in_time and (active or self._adopt_more()):
            active = [exporter for exporter in active or self._exporters.values() if self._send(exporter, deadline)]

    def _adopt_more(self) -> bool:
        return self._spool.adopt() > 0 and not all(health.is_down for health in self._health.values())

    def _send(self, exporter: SpoolExporter, deadline: float) -> bool:
        left = deadline - time.monotonic()
        self._in_time = left > 0
        return self._in_time and exporter.send_one(min(left, exporter.sender.endpoint.timeout))

    def close(self) -> None:
        """Return what could not be sent to the spool."""
        for exporter in self._exporters.values():
            exporter.release()
            exporter.sender.close()
        self._unsent.update({signal: items for signal, (items, _, _) in self._spool.pending().items()})
        self._spool.close()

    def report(self) -> int:
        """Print the results of each signal, after :meth:`close`.

        Returns 0 if nothing is left, else 1.
        """
        # Segments that this process did not adopt are only in the folder; those it was sending are
        # still locked and only in its own count.
        left = _items(self._spool, "waiting") | self._unsent
        lost: dict[str, list[str]] = {}
        for (signal, reason), count in self._spool.dropped().items():
            if reason != "rejected":
                lost.setdefault(signal, []).append(f"{count:,} lost ({reason})")
        printed = False
        for signal in dict.fromkeys((*self._exporters, *lost, *left)):
            parts = [*(self._counts[signal].parts() if signal in self._counts else ()), *lost.get(signal, ())]
            if left[signal]:
                parts.append(f"{left[signal]:,} left on the disk ({self._why(signal)})")
            if parts:
                print(f"{clean(signal):<8} {', '.join(parts)}")
                printed = True
        if not printed:
            self._print_that_nothing_waits()
        return 1 if any(left.values()) else 0

    def _why(self, signal: str) -> str:
        exporter = self._exporters.get(signal)
        reason = self._health[exporter.health.origin].reason if exporter is not None else "no endpoint for this signal"
        return clean(reason) or ("written meanwhile" if self._in_time else "--timeout reached")

    def _print_that_nothing_waits(self) -> None:
        print(f"Nothing waits for {', '.join(sorted(self._health))}.")
        held = sum(_items(self._spool, "held").values())
        if held:
            print(f"Running processes hold {held:,} items and send them themselves.")
        if any(backlog.state == "waiting" for backlog in inspect(os.environ)):
            print("Telemetry waits for other endpoints: see otel-distro spool.")


class _DrainHealth(EndpointHealth):
    """An endpoint that is not tried again after a failure, whose reason the report prints."""

    reason = ""

    @property
    def is_down(self) -> bool:
        return bool(self.reason)

    def record_failure(self, reason: str, retry_after: float, now: float) -> None:
        self.reason = f"{self.origin}: {reason}"
        self.retry_at = float("inf")


class _Counts(ExporterMetrics):
    """Counts the items of a signal by outcome, for the report."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal, None, "", 0)
        self._outcomes: Counter[str] = Counter()

    def exported(self, count: int, error_type: str = "") -> None:
        self._outcomes[error_type] += count

    def parts(self) -> list[str]:
        """Return each outcome with its number of items; sent ones come first."""
        texts = {"": "sent", _REJECTED: "rejected by the collector"}
        return [
            f"{count:,} {texts.get(outcome) or f'refused and kept in rejected/ ({clean(outcome)})'}"
            for outcome, count in sorted(self._outcomes.items())
            if count
        ]


def _items(spool: Spool, state: str) -> Counter[str]:
    items: Counter[str] = Counter()
    for backlog in inspect(os.environ):
        if backlog.state == state and backlog.path == spool.folder:
            items[backlog.signal] += backlog.items
    return items
