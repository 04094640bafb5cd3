"""What OpenTelemetry keeps private passes through one place, so that an upgrade of it breaks one place."""

from __future__ import annotations

import ast
from pathlib import Path

import otel_distro

PACKAGE = Path(otel_distro.__file__).parent
DOORS = (PACKAGE / "_otel" / "sdk.py", PACKAGE / "_otel" / "metrics.py")


def private_imports(source: str) -> list[str]:
    """Return the private names of OpenTelemetry that a module imports or reaches through a module it imported."""
    found: list[str] = []
    modules: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names if _is_private(alias.name))
            modules.update(alias.asname or alias.name for alias in node.names if _is_theirs(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.extend(name for name in names if _is_private(name))
            if _is_theirs(node.module):
                modules.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_private(node.value):
            # A name for import_module() or getattr().
            found.append(node.value)
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_underscored(node.attr))
    return [*found, *(ast.unparse(node) for node in attributes if ast.unparse(node.value) in modules)]


def _is_underscored(word: str) -> bool:
    return word.startswith("_") and not word.startswith("__")


def _is_theirs(name: str) -> bool:
    return f"{name}.".startswith("opentelemetry.")


def _is_private(name: str) -> bool:
    return _is_theirs(name) and " " not in name and any(map(_is_underscored, name.split(".")))


def test_check_finds_what_it_looks_for() -> None:
    """The check sees private modules, names and attributes, and lets public ones pass."""
    source = (
        "import opentelemetry.sdk._logs\n"
        "from opentelemetry import _logs, trace\n"
        "from opentelemetry.sdk._configuration import _OTelSDKConfigurator as Base\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "import_module('opentelemetry.util._once')\n"
        "print(trace._TRACER_PROVIDER, trace.get_tracer, trace.__name__, self._own)\n"
    )
    assert private_imports(source) == [
        "opentelemetry.sdk._logs",
        "opentelemetry._logs",
        "opentelemetry.sdk._configuration._OTelSDKConfigurator",
        "opentelemetry.util._once",
        "trace._TRACER_PROVIDER",
    ]


def test_private_names_pass_through_one_place() -> None:
    """No file of the package but these has a private name of OpenTelemetry; targets of hooks, which import nothing, aside."""
    allowed = {PACKAGE / "_startup" / "triggers.py": {"opentelemetry._logs"}}
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in DOORS
        and (
            names := [n for n in private_imports(path.read_text(encoding="utf-8")) if n not in allowed.get(path, set())]
        )
    }
    assert found == {}
    assert all(private_imports(door.read_text(encoding="utf-8")) for door in DOORS)
