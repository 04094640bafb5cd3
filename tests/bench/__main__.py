"""Run the benchmarks and compare their ratios with the stored ones.

    python -m tests.bench                     # all of them; exit status 1 if one got worse
    python -m tests.bench encode errors       # some of them
    python -m tests.bench --update            # store the ratios of this run

A ratio is the cost with the distribution divided by that with the plain upstream SDK, both measured
in turns in the same run. A ratio is worse if it exceeds the stored one by more than the tolerance.
Run it on an idle machine: the rounds even out short disturbances only. The stored ratios are those
of Python 3.11; between repeated runs they differed by up to 10 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.row import Row

BENCHMARKS = ("encode", "errors", "process_metrics", "startup")
BASELINE = Path(__file__).with_name("baseline.json")
ROOT = Path(__file__).parents[2]
TOLERANCE = 0.25
"""A ratio may exceed the stored one by a quarter: that is the noise of a busy machine."""


def measure(name: str) -> list[Row]:
    """Run one benchmark in a process of its own, because each patches the SDK."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    command = [sys.executable, "-m", f"tests.bench.{name}", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return [Row(**json.loads(line)) for line in done.stdout.splitlines()]


def compare(rows: dict[str, Row], stored: dict[str, float], tolerance: float) -> list[str]:
    """Print the rows beside the stored ratios.

    Returns:
        The names of the rows that got worse, and of stored ones that were not measured.
    """
    print(f"{'':<44} {'distro':>12} {'upstream':>12} {'ratio':>7} {'stored':>7} {'change':>7}")
    worse = [name for name in stored if name not in rows]
    for name, row in rows.items():
        known = stored.get(name)
        change = row.ratio / known - 1 if known else 0.0
        verdict = ""
        if known is None:
            verdict = "not stored"
        elif change > tolerance:
            verdict = "WORSE"
            worse.append(name)
        old = f"{known:7.3f} {change:+7.0%}" if known else f"{'':>15}"
        costs = f"{row.distro:9.2f} {row.unit:<2} {row.upstream:9.2f} {row.unit:<2}"
        print(f"{name:<44} {costs} {row.ratio:7.3f} {old} {verdict}".rstrip())
    return worse


def main() -> int:
    """Run the benchmarks of the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"default: {' '.join(BENCHMARKS)}")
    parser.add_argument("--update", action="store_true", help=f"store the ratios in {BASELINE.name}")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="default: %(default)s")
    arguments = parser.parse_args()
    chosen = arguments.benchmarks or BENCHMARKS
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {' '.join(sorted(unknown))}")
    rows = {f"{name}: {row.name}": row for name in chosen for row in measure(name)}
    everything: dict[str, float] = json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else {}
    stored = {name: ratio for name, ratio in everything.items() if name.partition(":")[0] in chosen}
    worse = compare(rows, stored, arguments.tolerance)
    if arguments.update:
        kept = {name: ratio for name, ratio in everything.items() if name not in stored}
        ratios = kept | {name: round(row.ratio, 3) for name, row in rows.items()}
        BASELINE.write_text(json.dumps(dict(sorted(ratios.items())), indent=2) + "\n", encoding="utf-8")
        return 0
    if worse:
        print(f"worse than {BASELINE.name} by more than {arguments.tolerance:.0%}, or not measured: {', '.join(worse)}")
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
