"""``python -m tools.settings_pages`` writes the tables of settings in ``docs/``.

With ``--check`` it only compares. A table follows a line ``<!-- settings: GLOB ... -->`` and an
empty line; it lists the settings whose names match a glob.
"""

from __future__ import annotations

import argparse
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from otel_distro.cli.settings import markdown
from otel_distro.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCS = Path(__file__).parents[1] / "docs"
REMEDY = "fix: python -m tools.settings_pages"

_TABLE = re.compile(r"^<!-- settings: (?P<globs>[^\n]+?) -->\n\n(?P<table>(?:\|[^\n]*\n)*)", re.MULTILINE)


def generated(page: str) -> str:
    """Return the text of a page with its tables as the settings have them now."""
    return _TABLE.sub(lambda found: found[0].removesuffix(found["table"]) + _table(found["globs"].split()), page)


def stale(docs: Path = DOCS) -> Iterator[tuple[Path, str]]:
    """Yield each page whose tables differ from the settings, with the text it should have."""
    for path in sorted(docs.rglob("*.md")):
        found = path.read_text(encoding="utf-8")
        if (wanted := generated(found)) != found:
            yield path, wanted


def _table(globs: Sequence[str]) -> str:
    return markdown([each for each in settings() if any(fnmatchcase(each.name, glob) for glob in globs)])


def main(arguments: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Write the tables, or with ``--check`` name the pages that differ and return 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.settings_pages", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs")
    check = parser.parse_args(arguments).check
    pages = list(stale(docs))
    for path, wanted in pages:
        if check:
            print(f"{path}: its table of settings is stale; {REMEDY}", file=sys.stderr)
        else:
            path.write_text(wanted, encoding="utf-8")
    return int(check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
