"""``otel-distro drain``: send what waits on the disk for the destination that the ``OTEL_*`` variables name."""

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
from otel_distro.export.build import deliveries, spool_of, targets
from otel_distro.export.self_metrics import ExporterMetrics
from otel_distro.export.send.delivery import EndpointHealth
from otel_distro.export.spool.inspection import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_distro.export.send.delivery import SpoolExporter
    from otel_distro.export.spool.spool import Spool

_TIMEOUT: Final = 60.0
_INTERRUPTED: Final = 130
_REJECTED: Final = "rejected"


def main(argv: list[str]) -> int:
    """Send what waits and print a line for each signal.

    Returns 0 when all was sent or nothing waited, 1 when something is left, which the lines explain, 2 for a bad
    argument, 130 when interrupted. What is left stays on the disk.
    """
    options = _parse(argv)
    for line in environment.prepare(os.environ):
        say(line, code="OD201")
    found = targets()
    # Whether new telemetry may lie on the disk is not asked here: what lies there is to go.
    ours = (settings.OTEL_DISTRO_SPOOL.name, settings.OTEL_DISTRO_SPOOL_MAX_BYTES.name)
    spool = spool_of(found, "otel-distro drain", {k: v for k, v in os.environ.items() if k not in ours})
    drain = _Drain(spool, deliveries(found, spool))
    try:
        with sdk.suppressed():
            drain.run(time.monotonic() + options.timeout)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        drain.close()
    return drain.report()


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro drain",
        description="Send the telemetry that ended processes have left on this machine for the destination that the "
        "OTEL_EXPORTER_OTLP_* variables name. It must run as the user, and with the variables, of those processes.",
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=_TIMEOUT, metavar="S", help="seconds it may take (default: %(default)g)"
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


class _Drain:
    """Delivers a spool to its end, and counts."""

    def __init__(self, spool: Spool, made: Mapping[str, SpoolExporter]) -> None:
        self._spool = spool
        self._deliveries = made
        self._counts = {signal: _Counts(signal) for signal in made}
        self._links: dict[str, _Link] = {}
        self._in_time = True
        self._unsent: Counter[str] = Counter()
        for signal, delivery in made.items():
            origin = delivery.link.origin
            delivery.link = self._links.setdefault(origin, _Link(origin, spool))
            delivery.report_to(self._counts[signal])

    def run(self, deadline: float) -> None:
        """Send until nothing waits, nothing goes any more or the time is over."""
        going: list[SpoolExporter] = []
        while self._in_time and (going or self._may_go_on()):
            going = [delivery for delivery in going or self._deliveries.values() if self._send(delivery, deadline)]

    def _may_go_on(self) -> bool:
        return self._spool.adopt() > 0 and not all(link.is_down for link in self._links.values())

    def _send(self, delivery: SpoolExporter, deadline: float) -> bool:
        left = deadline - time.monotonic()
        self._in_time = left > 0
        return self._in_time and delivery.send_one(min(left, delivery.sender.target.timeout))

    def close(self) -> None:
        """Give back what could not be sent."""
        for delivery in self._deliveries.values():
            delivery.leave()
            delivery.sender.close()
        self._unsent.update({signal: items for signal, (items, _, _) in self._spool.pending().items()})
        self._spool.close()

    def report(self) -> int:
        """Print what became of each signal, after :meth:`close`; return 0 when nothing is left, else 1."""
        # Of what this process did not come to take it knows nothing, and what it was just sending is not free yet.
        left = _items(self._spool, "waiting") | self._unsent
        lost: dict[str, list[str]] = {}
        for (signal, reason), count in self._spool.dropped().items():
            if reason != "rejected":
                lost.setdefault(signal, []).append(f"{count:,} lost ({reason})")
        told = False
        for signal in dict.fromkeys((*self._deliveries, *lost, *left)):
            parts = [*(self._counts[signal].parts() if signal in self._counts else ()), *lost.get(signal, ())]
            if left[signal]:
                parts.append(f"{left[signal]:,} left on the disk ({self._why(signal)})")
            if parts:
                print(f"{clean(signal):<8} {', '.join(parts)}")
                told = True
        if not told:
            self._say_that_nothing_waits()
        return 1 if any(left.values()) else 0

    def _why(self, signal: str) -> str:
        delivery = self._deliveries.get(signal)
        reason = self._links[delivery.link.origin].reason if delivery is not None else "no such signal"
        return clean(reason) or ("came meanwhile" if self._in_time else "the time is over")

    def _say_that_nothing_waits(self) -> None:
        print(f"Nothing waits for {', '.join(sorted(self._links))}.")
        held = sum(_items(self._spool, "held").values())
        if held:
            print(f"Running processes are sending {held:,} items themselves.")
        if any(backlog.state == "waiting" for backlog in inspect(os.environ)):
            print("Something waits for other destinations: otel-distro spool shows it.")


class _Link(EndpointHealth):
    """A link that stays down once it failed, and leaves it to the report to say why."""

    reason = ""

    @property
    def is_down(self) -> bool:
        return bool(self.reason)

    def failed(self, reason: str, retry_after: float, now: float) -> None:
        self.reason = f"{self.origin}: {reason}"
        self.retry_at = float("inf")


class _Counts(ExporterMetrics):
    """Counts what became of the items of a signal, for the report."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal, None, "", 0)
        self._outcomes: Counter[str] = Counter()

    def exported(self, count: int, error_type: str = "") -> None:
        self._outcomes[error_type] += count

    def parts(self) -> list[str]:
        """Return each outcome with its number of items, what was sent first."""
        texts = {"": "sent", _REJECTED: "rejected by the collector"}
        return [
            f"{count:,} {texts.get(outcome) or f'set aside ({clean(outcome)})'}"
            for outcome, count in sorted(self._outcomes.items())
            if count
        ]


def _items(spool: Spool, state: str) -> Counter[str]:
    items: Counter[str] = Counter()
    for backlog in inspect(os.environ):
        if backlog.state == state and backlog.path == spool.folder:
            items[backlog.signal] += backlog.items
    return items
