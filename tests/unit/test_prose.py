"""The words a reader meets: plain technical English, and a code for every message."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("otel_distro", "collector", "grafana", "demo", "tests", "tools")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts and path != Path(__file__)
)
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("otel_distro/**/*.md"), *ROOT.glob("tests/**/*.md")]
)
CONFIGURATIONS = sorted(
    path
    for pattern in ("collector/**/*.yaml", "backends/**/*.yaml", "grafana/**/*.yaml", "tests/stack/**/*.yaml", "*.yml")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
BANNED = re.compile(
    r"""\b(
    told | tells? | telling | whoever | nobody | somebody | anybody | everybody | ours | anew | as\ ever | such\ an?\ one
    | lanes? | shelf | shelves | allowance | gathering | ears? | hear[sd]? | quicken(s|ed)?
    | goes?\ home | let\ go | lets\ go | put\ away | at\ hand | hand(s|ed|ing)?\ on | lies(?!\ between)
    | stands?\ (in(?!\ for)|on|at|before|after|behind|beside|there) | costs?\ a\ line | life\ goes\ on | goes\ its\ way
    | is\ said | are\ said | be\ said | is\ (?-i:none) | comes\ to\ light
    | put\ back | puts\ back | put\ right | puts\ right | taken\ out | set\ aside | keeps?\ quiet | the\ others\ hold
    | bites? | folded | folding | folds | stretch(es)? | comes?\ round | puzzling | no\ good | costs\ nobody | by\ halves
    | behind\ our\ back | go(es)?\ on
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
NOUN_CLAUSE = re.compile(r'^\s*r?"""(What|Who)\b(?!.*\?)')
"""A docstring that begins with a clause, such as "What is left", in place of a noun or a verb."""

YAML_PROSE = re.compile(r"(?:^|\s)#|^\s*(?:- )?(?:name|summary|runbook|description):")
"""Comments, and the texts that users of the stack see."""

LONGEST = 100


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield numbers and texts of all lines of docstrings, comments and messages of a module."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for offset, line in enumerate(source.splitlines()[node.lineno - 1 : node.end_lineno]):
                yield node.lineno + offset, line
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "print"):
            for constant in ast.walk(node):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    yield constant.lineno, constant.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_of_module_is_plain_english(path: Path) -> None:
    """Docstrings, comments and messages have no word of the list, and no noun clause at the beginning."""
    found = [
        f"{path}:{number}: {line.strip()}"
        for number, line in prose(path.read_text("utf-8"))
        if BANNED.search(line) or NOUN_CLAUSE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_of_page_is_plain_english(path: Path) -> None:
    """Pages have no word of the list, not even in code samples."""
    lines = path.read_text("utf-8").splitlines()
    assert [f"{path}:{number}: {line}" for number, line in enumerate(lines, 1) if BANNED.search(line)] == []


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_of_configuration_is_plain_english(path: Path) -> None:
    """Comments of YAML files and texts of alerts have no word of the list."""
    lines = path.read_text("utf-8").splitlines()
    found = [f"{path}:{n}: {line}" for n, line in enumerate(lines, 1) if YAML_PROSE.search(line)]
    assert [line for line in found if BANNED.search(line)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstring_line_is_at_most_100_columns(path: Path) -> None:
    """Lines of docstrings end at column 100."""
    tree = ast.parse(path.read_text("utf-8"))
    lines = path.read_text("utf-8").splitlines()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            numbers = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found += [f"{path}:{number}" for number in numbers if len(lines[number - 1]) > LONGEST]
    assert found == []


def codes_in_source() -> dict[str, list[str]]:
    """Return the codes of all messages with the places that print them; "" is a missing code."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "otel_distro").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "say":
                code = next(
                    (k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)), ""
                )
                found.setdefault(str(code), []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_message_has_a_code_that_troubleshooting_explains() -> None:
    """Every line on stderr has a code, and docs/troubleshooting.md has a row for each code and no other."""
    used = codes_in_source()
    assert used.pop("", []) == []
    rows = re.findall(r"^\| (OD\d{3}) \|", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(set(rows))
    assert set(rows) == set(used)
