"""``python -m grafana`` writes ``grafana/dashboards``; ``--check`` only compares."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from grafana import boards

DASHBOARDS = Path(__file__).parent / "dashboards"


def generate() -> dict[str, str]:
    """Return the text of every dashboard file by its name."""
    files = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(boards.__path__)):
        content = importlib.import_module(f"{boards.__name__}.{module}").dashboard()
        files[f"{module}.json"] = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return files


def main(arguments: Sequence[str] | None = None, directory: Path = DASHBOARDS) -> int:
    """Write the dashboards, or with ``--check`` compare them and return 1 if a file differs."""
    parser = argparse.ArgumentParser(prog="python -m grafana", description="Write the dashboards from their source.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not as generated")
    check = parser.parse_args(arguments).check
    wanted = generate()
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.json"))}
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    for name in differing:
        if check:
            print(
                f"{directory / name} differs from its board in grafana/boards; fix: python -m grafana", file=sys.stderr
            )
        elif name in wanted:
            (directory / name).write_text(wanted[name], encoding="utf-8")
        else:
            (directory / name).unlink()
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
