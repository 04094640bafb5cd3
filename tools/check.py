"""``python -m tools.check``: finds missing registrations and stale pages, one line each.

Every line names the file, the problem, and the edit or the command that fixes it.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import opentelemetry.semconv

from otel_distro import schema
from otel_distro._startup import triggers
from otel_distro.settings import settings
from tools import settings_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_SECTION = re.compile(
    r"^\[project\.entry-points\.opentelemetry_instrumentor\]\n(?P<rows>(?:[^\[\n][^\n]*\n)*)", re.MULTILINE
)
_ENTRY = re.compile(r'^(?P<name>[\w-]+) *= *"(?P<place>[^"]+)"', re.MULTILINE)
# OTEL_DISTRO_X is the placeholder of the recipe.
_SETTING = re.compile(r"\bOTEL_DISTRO_(?!X\b)[A-Z_]*[A-Z]\b")


def findings(root: Path = ROOT) -> Iterator[str]:
    """Yield one line for each thing that is not registered, not declared or stale."""
    yield from undeclared_roots()
    yield from unlisted_schema_modules(root)
    yield from unregistered_instrumentors(root)
    yield from unknown_settings(root)
    for path, _ in settings_pages.stale(root / "docs"):
        yield f"{path.relative_to(root)}: its table of settings is stale; {settings_pages.REMEDY}"


def undeclared_roots() -> Iterator[str]:
    """Yield the names whose root namespace neither the conventions nor ``OWN_ROOTS`` have."""
    known = {*_roots_of_conventions(), *schema.OWN_ROOTS}
    for module in pkgutil.iter_modules(schema.__path__):
        for value in vars(importlib.import_module(f"{schema.__name__}.{module.name}")).values():
            for each in value.values() if isinstance(value, dict) else (value,):
                name = each.name if isinstance(each, (schema.Attribute, schema.Event, schema.Metric)) else ""
                if name and name.partition(".")[0] not in known and _declares(module.name, name):
                    yield (
                        f"otel_distro/schema/{module.name}.py: {name!r} has a root that is neither of the semantic "
                        f"conventions nor ours; fix: begin it with one of {', '.join(schema.OWN_ROOTS)}, or add "
                        f"{name.partition('.')[0]!r} to OWN_ROOTS in otel_distro/schema/kinds.py"
                    )


def unlisted_schema_modules(root: Path = ROOT) -> Iterator[str]:
    """Yield the modules of ``schema/`` whose names the package does not export."""
    folder = root / "otel_distro" / "schema"
    exported = (folder / "__init__.py").read_text(encoding="utf-8")
    for path in sorted(folder.glob("[!_]*.py")):
        line = f"from otel_distro.schema.{path.stem} import *"
        if line not in exported:
            yield f"otel_distro/schema/{path.name}: its names are not exported; fix: add {line!r} to otel_distro/schema/__init__.py"


def unregistered_instrumentors(root: Path = ROOT) -> Iterator[str]:
    """Yield what each subclass of ``Instrumentor`` lacks: trigger, entry point or contract.

    One that replaces an instrumentor of OpenTelemetry uses that one's entry point.
    """
    section = _SECTION.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    registered = {found["place"]: found["name"] for found in _ENTRY.finditer(section["rows"] if section else "")}
    triggered = {row[1]: row[0] for row in triggers.ALWAYS} | {row[2]: row[1] for row in triggers.ON_IMPORT}
    triggered |= {row[4]: row[3] for row in triggers.FIRST_CALL}
    for place in _instrumentors(root):
        module, _, name = place.partition(":")
        stem = module.rpartition(".")[2]
        file = f"otel_distro/instrumentation/{stem}.py"
        if place not in triggered:
            yield (
                f"{file}: nothing loads {name}; fix: add a row with {place!r} to ALWAYS, ON_IMPORT or FIRST_CALL "
                f"in otel_distro/_startup/triggers.py"
            )
        if triggered.get(place, stem) != stem:
            continue
        if registered.get(place) != stem:
            yield (
                f"{file}: {name} has no entry point; fix: add '{stem} = \"{place}\"' to "
                f"[project.entry-points.opentelemetry_instrumentor] in pyproject.toml"
            )
        test = root / "tests" / "unit" / "instrumentation" / f"test_{stem}.py"
        if not test.is_file() or "\nCONTRACT = " not in test.read_text(encoding="utf-8"):
            yield (
                f"{file}: {name} has no contract; fix: set CONTRACT = Contract(...) of tests/support/contract.py "
                f"in {test.relative_to(root)}"
            )


def unknown_settings(root: Path = ROOT) -> Iterator[str]:
    """Yield the variables that a page names and ``settings.py`` does not have."""
    known = {each.name for each in settings()}
    for path in sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")]):
        if path.name == "CHANGELOG.md":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for name in _SETTING.findall(line):
                prefix = any(each.startswith(f"{name}_") for each in known)
                if name not in known and not prefix and not name.startswith("OTEL_DISTRO_TEST_"):
                    yield (
                        f"{path.relative_to(root)}:{number}: {name} is no setting; fix: write its name as "
                        f"docs/settings.md has it, or add it to otel_distro/settings.py"
                    )


def _instrumentors(root: Path) -> Iterator[str]:
    """Yield ``module:class`` of the subclasses of ``Instrumentor`` in the folder."""
    for path in sorted((root / "otel_distro" / "instrumentation").glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Instrumentor" for base in node.bases):
                yield f"otel_distro.instrumentation.{path.stem}:{node.name}"


def _declares(module: str, name: str) -> bool:
    """Return whether the module's own file declares the name, and does not only import it."""
    return f'"{name}"' in (ROOT / "otel_distro" / "schema" / f"{module}.py").read_text(encoding="utf-8")


def _roots_of_conventions() -> set[str]:
    (folder,) = map(Path, opentelemetry.semconv.__path__)
    files = (file.relative_to(folder).with_suffix("").parts for file in sorted(folder.rglob("[!_]*.py")))
    values = (
        value
        for parts in files
        for value in vars(importlib.import_module(f"opentelemetry.semconv.{'.'.join(parts)}")).values()
    )
    return {value.partition(".")[0] for value in values if isinstance(value, str) and _NAME.fullmatch(value)}


def main() -> int:
    """Print the findings; return 1 if there are any."""
    found = list(findings())
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
