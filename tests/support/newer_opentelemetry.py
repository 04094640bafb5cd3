"""A newer OpenTelemetry, simulated: private names renamed, signatures changed, modules moved.

``sitecustomize`` of a program under test calls :func:`install` before anything of OpenTelemetry is
imported. Its source is then rewritten as it is loaded, everywhere alike: upstream's own code goes
on to work, and only what reads its private parts from outside finds them gone.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType

VARIABLE = "TEST_NEWER_OPENTELEMETRY"
SITE = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.support import newer_opentelemetry
sys.path.remove({str(Path(__file__).parents[2])!r})
newer_opentelemetry.install()
"""


def site(
    folder: Path, *, names: Sequence[str] = (), functions: Sequence[str] = (), modules: Sequence[str] = ()
) -> Path:
    """Make a folder for ``PYTHONPATH`` that changes OpenTelemetry in every process.

    Args:
        folder: Where to make it.
        names: Identifiers that are renamed.
        functions: ``module:qualified.name`` of functions that get one more parameter.
        modules: Packages that are moved, as ``opentelemetry._logs``.
    """
    made = folder / "site"
    made.mkdir()
    changes = {"names": list(names), "functions": list(functions), "modules": list(modules)}
    (made / "sitecustomize.py").write_text(f"import os\nos.environ[{VARIABLE!r}] = {json.dumps(changes)!r}\n{SITE}")
    return made


def install() -> None:
    """Change what is imported of OpenTelemetry from now on."""
    changes = json.loads(os.environ[VARIABLE])
    # Behind the finders of import hooks, in front of the one that finds files.
    sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder), _Finder(changes))


class _Finder:
    """Finds the modules of OpenTelemetry where they have moved, and nothing where they were."""

    def __init__(self, changes: Mapping[str, Sequence[str]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return how to load a module, None for one that is as it was."""
        if not name.startswith("opentelemetry."):
            return None
        original = name
        for module in self._changes["modules"]:
            if f"{name}.".startswith(f"{module}."):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if f"{name}.".startswith(f"{moved(module)}."):
                original = module + name[len(moved(module)) :]
        parts = original.split(".")
        for entry in sys.path:
            file = Path(entry, *parts[:-1], f"{parts[-1]}.py")
            package = Path(entry, *parts, "__init__.py")
            found = package if package.is_file() else file
            if found.is_file():
                loader = _Loader(name, str(found), original, self._changes)
                search = [str(package.parent)] if found is package else None
                return importlib.util.spec_from_file_location(
                    name, found, loader=loader, submodule_search_locations=search
                )
        return None


def moved(module: str) -> str:
    """Return the new name of a module."""
    head, _, last = module.rpartition(".")
    return f"{head}.moved{last}"


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, original: str, changes: Mapping[str, Sequence[str]]) -> None:
        super().__init__(name, path)
        self._original = original
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType | None:
        """Compile the changed source; a file that no change concerns is loaded from its cache."""
        source = Path(self.path).read_text(encoding="utf-8")
        for module in self._changes["modules"]:
            source = source.replace(f"{module}.", f"{moved(module)}.").replace(f"{module} ", f"{moved(module)} ")
            parent, _, last = module.rpartition(".")
            source = source.replace(f"from {parent} import {last}", f"from {parent} import moved{last} as {last}")
        functions = {
            name.partition(":")[2] for name in self._changes["functions"] if name.startswith(f"{self._original}:")
        }
        if not functions and not any(word in source for word in (*self._changes["names"], "moved_")):
            return super().get_code(fullname)
        tree = _Changed(self._changes["names"], functions).visit(ast.parse(source))
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        code = self.get_code(module.__name__)
        assert code is not None
        exec(code, module.__dict__)


class _Changed(ast.NodeTransformer):
    """Renames identifiers, and gives functions one more parameter."""

    def __init__(self, names: Sequence[str], functions: set[str]) -> None:
        self._names = frozenset(names)
        self._functions = functions
        self._inside: list[str] = []

    def visit(self, node: ast.AST) -> Any:
        """Rename every field that holds an identifier."""
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str) and value in self._names:
                setattr(node, field, f"{value}_renamed")
        if isinstance(node, ast.Constant) and node.value in self._names and isinstance(node.value, str):
            node.value = f"{node.value}_renamed"
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            self._inside.append(node.name)
            if isinstance(node, ast.FunctionDef) and ".".join(self._inside) in self._functions:
                node.args.kwonlyargs.append(ast.arg("added_later"))
                node.args.kw_defaults.append(ast.Constant(None))
            self.generic_visit(node)
            self._inside.pop()
            return node
        return super().visit(node)
