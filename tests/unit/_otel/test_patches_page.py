"""docs/patches.md lists every patch of OpenTelemetry and of Python."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import otel_distro
from otel_distro._otel.patches import PATCHES
from otel_distro._runtime import exit as process_exit
from otel_distro._startup import compatibility, triggers

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(otel_distro.__file__).parent
PAGE = PACKAGE.parent / "docs" / "patches.md"
START, END = "<!-- otel: generated from otel_distro/_otel/patches.py -->\n", "<!-- /otel -->"


def table() -> str:
    """Return the table of OpenTelemetry's patches."""
    rows = ["| patch | where | why | without it | public way |", "| --- | --- | --- | --- | --- |"]
    for patch in PATCHES:
        where = patch.where.removeprefix("otel_distro/")
        since = f" From {patch.since[0]}.{patch.since[1]}." if patch.since > (0, 0) else ""
        rows.append(f"| {patch.name} | `{where}` | {patch.reason}{since} | {patch.without} | {patch.public} |")
    return "\n" + "\n".join(rows) + "\n\n"


def patched_in_python() -> Iterator[str]:
    """Yield what the package assigns to in modules of the standard library, as ``module.name``."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        modules = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name.partition(".")[0] in sys.stdlib_module_names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                targets = [t for each in node.targets for t in (each.elts if isinstance(each, ast.Tuple) else [each])]
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "patch" and len(node.args) == 3:
                name = node.args[1]
                targets = [ast.Attribute(node.args[0], str(name.value))] if isinstance(name, ast.Constant) else []
            elif isinstance(node, ast.For):
                targets = list(_set_in(node))
            else:
                continue
            for target in targets:
                if isinstance(target, ast.Attribute) and _root(target) in modules:
                    yield ast.unparse(target)
    for function, (library, *_) in process_exit._FUNCTIONS.items():
        yield f"{library.__name__}.{function}"
    for module, owner, attribute, *_ in triggers.FIRST_CALL:
        if module.partition(".")[0] in sys.stdlib_module_names and module not in ("sqlite3", "sqlite3.dbapi2"):
            yield ".".join(filter(None, (module, owner, attribute)))


def _set_in(loop: ast.For) -> Iterator[ast.expr]:
    """Yield what ``for name in ("a", "b"): setattr(owner, name, ...)`` assigns to."""
    names = [each.value for each in getattr(loop.iter, "elts", ()) if isinstance(each, ast.Constant)]
    for call in ast.walk(loop):
        if isinstance(call, ast.Call) and ast.unparse(call).startswith("setattr("):
            owner, name, _ = call.args
            if ast.unparse(name) == ast.unparse(loop.target):
                yield from (ast.Attribute(owner, str(each)) for each in names)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_page_has_the_table_of_the_registry() -> None:
    """The table is that of the registry; copy :func:`table` to the page after a change."""
    page = PAGE.read_text("utf-8")
    assert page.partition(START)[2].partition(END)[0] == table()


def test_page_names_every_patch_of_python() -> None:
    """A name of the standard library that is assigned to is in the second table."""
    listed = set(re.findall(r"`([\w.]+)`", PAGE.read_text("utf-8").partition("## Python")[2]))
    found = {name for name in patched_in_python() if not name.startswith(("sys.excepthook.", "os.environ"))}
    assert {"os.fork", "sys.excepthook", "logging.PercentStyle.__init__", "signal.raise_signal"} <= found
    assert found - listed - {"urllib.request.OpenerDirector.open"} == set()


def test_page_names_the_tested_range() -> None:
    """The range on the page is that of the package."""
    page = PAGE.read_text("utf-8")
    assert f"`{compatibility.CORE_RANGE}`" in page
    assert f"`{compatibility.CONTRIB_RANGE}`" in page


def test_page_names_modules_that_exist() -> None:
    """Each module in the tables is a file of the package."""
    named = set(re.findall(r"`(\w+(?:/\w+)*\.py)`", PAGE.read_text("utf-8")))
    assert [name for name in named if not any((base / name).is_file() for base in (PACKAGE, PACKAGE.parent))] == []
