"""Docstrings of the package refer to names and parameters that exist."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "otel_distro").rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))

_ROLE = re.compile(r":(?:func|meth|class|data|attr|mod|exc|obj):`~?([\w.]+)`")
_SECTION = re.compile(r"^Args:\n((?:    .*\n?|\n)+)", re.MULTILINE)
_PARAMETER = re.compile(r"^    \*{0,2}(\w+):", re.MULTILINE)


def names_of(tree: ast.AST) -> set[str]:
    """Return every name that a module defines, assigns to or imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
    return found


def resolves(target: str, names: set[str]) -> bool:
    """Return whether a role leads to a name of its module or to one that can be imported."""
    try:
        pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError):
        return set(target.split(".")) <= names
    return True


@each_module
def test_docstring_role_leads_to_an_existing_name(path: Path) -> None:
    """Each ``:func:``, ``:class:`` and the like names something that exists."""
    source = path.read_text("utf-8")
    names = names_of(ast.parse(source))
    assert [target for target in _ROLE.findall(source) if not resolves(target, names)] == []


@each_module
def test_docstring_args_list_parameters_of_the_function(path: Path) -> None:
    """``Args:`` has one line per parameter, in the order of the signature, and no other names."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        section = _SECTION.search(inspect.cleandoc(ast.get_docstring(node) or ""))
        if section is None:
            continue
        arguments = node.args
        both = [arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        parameters = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *both) if each]
        listed = _PARAMETER.findall(section[1])
        inline = [name for name in parameters if re.search(rf"[.;] {name}: ", section[1])]
        if listed != [name for name in parameters if name in listed] or inline:
            wrong.append(f"{path}:{node.lineno}: {listed}")
    assert wrong == []
