"""The pages: every link, command, option, path and message code that they name exists."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from otel_distro import cli
from otel_distro._startup import triggers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))

_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?<!install )(?<!uninstall )(?:^|[\s/`$(])otel-distro ([a-z][^`|;#\n]*)")


def code_of(text: str) -> Iterator[str]:
    """Yield the lines of code blocks and the code spans of a page."""
    for block in _FENCE.finditer(text):
        yield from block[0].splitlines()[1:-1]
    yield from (span[1] for span in _CODE.finditer(_FENCE.sub("", text)))


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", _FENCE.sub("", path.read_text("utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


@each_page
def test_page_with_relative_links_leads_to_files_and_headings(path: Path) -> None:
    """Each relative link leads to a file of the repository, and its anchor to a heading there."""
    broken = []
    for target in _LINK.findall(_FENCE.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


@each_page
def test_page_with_commands_names_commands_and_options_that_exist(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each `otel-distro COMMAND --option` of a page is a command with this option."""
    wrong = []
    for line in code_of(path.read_text("utf-8")):
        for words in _COMMAND.findall(line):
            name, *rest = words.split(" -- ")[0].split()
            if name not in cli.COMMANDS:
                wrong.append(words)
                continue
            with suppress(SystemExit):
                cli.main([name, "--help"])
            shown = capsys.readouterr().out
            wrong += [f"{name} {word}" for word in rest if word.startswith("--") and word[2:] and word not in shown]
    assert wrong == []


@each_page
def test_page_with_make_targets_names_targets_that_exist(path: Path) -> None:
    """Each `make TARGET` of a page is a target of the Makefile."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {name for line in code_of(path.read_text("utf-8")) for name in re.findall(r"^make ([\w-]+)", line)}
    assert named - targets == set()


@each_page
def test_page_with_paths_names_files_that_exist(path: Path) -> None:
    """Each path below the folders of the repository that a page shows as code exists."""
    named = {
        match[0]
        for code in code_of(path.read_text("utf-8"))
        for match in re.finditer(
            r"(?<![\w/.~-])(?:tests|docs|otel_distro|demo|collector|backends|grafana)/[\w./-]+", code
        )
        if not re.match(r"[<*{]", code[match.end() :])
    }
    assert {name for name in named if not (ROOT / name).exists()} == set()


@each_page
def test_page_with_message_codes_names_codes_that_are_explained(path: Path) -> None:
    """Each code of a message that a page names has a row in docs/troubleshooting.md."""
    rows = re.findall(r"^\| (OD\d{3}) \|", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"\bOD\d{3}\b", path.read_text("utf-8"))) - set(rows) == set()


def test_index_with_all_pages_lists_each() -> None:
    """docs/index.md links to every page of docs/ and to those beside the README."""
    links = set(_LINK.findall((ROOT / "docs" / "index.md").read_text("utf-8")))
    pages = {page.name if page.parent == ROOT / "docs" else f"../{page.name}" for page in PAGES}
    assert pages - links - {"index.md"} == set()


def test_list_of_libraries_with_all_triggers_names_each_instrumentor() -> None:
    """docs/what-is-captured.md names every instrumentor that an import or a call loads."""
    text = (ROOT / "docs" / "what-is-captured.md").read_text("utf-8")
    names = {row[1] for row in triggers.ON_IMPORT} | {row[3] for row in triggers.FIRST_CALL} - {"api"}
    names |= {row[0] for row in triggers.ALWAYS}
    assert {name for name in names if f"`{name}`" not in text} == set()
