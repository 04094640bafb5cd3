"""``python -m collector`` writes ``collector/redaction.yaml``; with ``--check`` it compares it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from collector.redaction import generate

FILE = Path(__file__).parent / "redaction.yaml"


def main(arguments: Sequence[str] | None = None, file: Path = FILE) -> int:
    """Write the file, or compare it with ``--check``; return the exit status, 1 if it differs.

    Args:
        arguments: The command line without the program's name; that of the process by default.
        file: The file to write.
    """
    parser = argparse.ArgumentParser(prog="python -m collector", description="Write the redaction of the Collector.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the file differs from the generated text"
    )
    check = parser.parse_args(arguments).check
    wanted = generate()
    if not check:
        file.write_text(wanted, encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{file} differs from the generated text: run python -m collector", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
