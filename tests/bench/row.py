"""A line of a benchmark: the cost of the distribution and of the plain upstream SDK."""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        name: What was measured.
        distro: Cost with the distribution.
        upstream: Cost with the plain upstream SDK.
        unit: Unit of both.
    """

    name: str
    distro: float
    upstream: float
    unit: str

    @property
    def ratio(self) -> float:
        """Cost relative to upstream: it is comparable between machines, the costs are not."""
        return self.distro / self.upstream


def row(name: str, distro: Sequence[float], upstream: Sequence[float], unit: str) -> Row:
    """Return the row of two series of costs: the medians, which other programs disturb least."""
    return Row(name, statistics.median(distro), statistics.median(upstream), unit)


def main(description: str | None, measure: Callable[[int], Iterable[Row]], rounds: int) -> None:
    """Run a benchmark from the command line.

    Args:
        description: Shown by ``--help``.
        measure: Returns the rows for a number of rounds.
        rounds: Default number of rounds.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    arguments = parser.parse_args()
    for each in measure(arguments.rounds):
        if arguments.json:
            print(json.dumps(asdict(each)), flush=True)
        else:
            print(
                f"{each.name:<44} {each.distro:9.2f} {each.unit}   upstream {each.upstream:9.2f} {each.unit}   "
                f"ratio {each.ratio:.3f}",
                flush=True,
            )
