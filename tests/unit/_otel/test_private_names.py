"""Private names of OpenTelemetry are used in one folder, each by a patch with a probe."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import otel_distro
from otel_distro._otel import logs
from otel_distro._otel.needs import Fields, Name, Parameters, Samples
from otel_distro._otel.patches import PATCHES

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(otel_distro.__file__).parent
FOLDER = PACKAGE / "_otel"
OWN = {"_problems", "_otel", "_arguments", "_end_on_exit", "_span", "_token", "_opentelemetry_opamp"}
"""Names of the folder's own modules and classes, and a group of entry points."""

DECLARATIONS = (FOLDER / "patches.py", FOLDER / "metric_patches.py", FOLDER / "needs.py")
LOGGERS = {"opentelemetry.sdk._configuration"}
"""Names of upstream's loggers."""

PUT_TOGETHER = {
    *("_value_negative", "_value_positive", "_negative", "_positive"),
    *(f"_{signal}_configurator" for signal in ("tracer", "meter", "logger")),
    *(f"_{signal}_PROVIDER_SET_ONCE" for signal in ("TRACER", "METER", "LOGGER")),
}
"""Names that the code puts together from parts."""

TEST_ONLY = {
    *("_TRACER_PROVIDER", "_METER_PROVIDER", "_LOGGER_PROVIDER"),
    *("_instrumenting_module_name", "_instrumenting_library_version", "_schema_url", "_attributes", "_version"),
    *("_real_meter_provider", "_meters", "_real_meter"),
}
"""Names that only ``global_providers.py`` reads: without them the fixture of a test fails."""


def private_imports(source: str) -> list[str]:
    """Return the private names of OpenTelemetry that a module imports, or reads of an import."""
    found: list[str] = []
    modules: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names if _is_private(alias.name))
            modules.update(alias.asname or alias.name for alias in node.names if _is_upstream(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.extend(name for name in names if _is_private(name))
            if _is_upstream(node.module):
                modules.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_private(node.value):
            # A name for import_module() or getattr().
            found.append(node.value)
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_underscored(node.attr))
    return [*found, *(ast.unparse(node) for node in attributes if ast.unparse(node.value) in modules)]


def private_attributes(source: str) -> set[str]:
    """Return the private attributes that a module reads or sets on objects other than ``self``.

    Also those that it names in a text, for ``getattr``, ``attrgetter`` or ``__dict__``.
    """
    return {name for name in _attributes(ast.parse(source)) if _is_underscored(name)}


def _attributes(tree: ast.AST) -> Iterator[str]:
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    prose |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield from (part for part in node.value.split(".") if part.isidentifier() and not _is_private(node.value))
        elif isinstance(node, ast.keyword) and node.arg and node.arg.startswith("_"):
            yield node.arg


def declared() -> set[str]:
    """Return the private names in the needs of all patches."""
    found: set[str] = set().union(*Samples.private.values())
    for need in (need for patch in PATCHES for need in patch.needs):
        if isinstance(need, Fields):
            found.update(part for name in (*need.names, *need.optional) for part in name.split("."))
        elif isinstance(need, Parameters):
            found.update((*need.names, *need.path.replace(":", ".").split(".")))
        else:
            assert isinstance(need, Name)
            found.update(need.path.replace(":", ".").split("."))
    return {name for name in found if _is_underscored(name)}


def _is_underscored(word: str) -> bool:
    return word.startswith("_") and not word.startswith("__") and word.strip("_") != ""


def _is_upstream(name: str) -> bool:
    return f"{name}.".startswith("opentelemetry.")


def _is_private(name: str) -> bool:
    return _is_upstream(name) and " " not in name and any(map(_is_underscored, name.split(".")))


def test_check_finds_private_imports() -> None:
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


def test_check_finds_private_attributes() -> None:
    """The check sees attributes of any object but ``self``, names in texts, and keywords."""
    source = (
        '"""A docstring names _nothing."""\n'
        "self._own = span._context\n"
        "span._end_time = other.public\n"
        "attrgetter('_a._b', 'c')(span)\n"
        "getattr(span, '_limits', None)\n"
        "Provider(_configurator=1, name=span.__class__)\n"
    )
    assert private_attributes(source) == {"_context", "_end_time", "_a", "_b", "_limits", "_configurator"}


def test_private_names_are_used_in_one_folder() -> None:
    """Only files of ``_otel/`` have one; triggers.py, which imports nothing, is an exception."""
    allowed = {PACKAGE / "_startup" / "triggers.py": {"opentelemetry._logs"}}
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.is_relative_to(FOLDER)
        and (
            names := [n for n in private_imports(path.read_text(encoding="utf-8")) if n not in allowed.get(path, set())]
        )
    }
    assert found == {}


def test_private_attribute_belongs_to_a_patch() -> None:
    """Every private attribute that the folder uses is in the needs of a patch."""
    known = {*declared(), *OWN, *PUT_TOGETHER}
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        if path not in DECLARATIONS:
            allowed = TEST_ONLY if path.name == "global_providers.py" else set()
            names = private_attributes(path.read_text(encoding="utf-8")) - known - allowed
            if names:
                found[path.name] = sorted(names)
    assert found == {}


def test_private_module_belongs_to_a_patch() -> None:
    """Every private module that the folder imports is in the needs of a patch, or logs.py's."""
    needed = [
        need.path.replace(":", ".") for patch in PATCHES for need in patch.needs if isinstance(need, Name | Parameters)
    ]
    needed += [f"{module}." for module in (*logs.API, *logs.SDK, *logs.EXPORT)]
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        if path not in DECLARATIONS:
            names = {
                name
                for name in private_imports(path.read_text(encoding="utf-8"))
                if _is_upstream(name) and not any(f"{each}.".startswith(f"{name}.") for each in needed)
            }
            names = {
                name for name in names if not name.startswith(("opentelemetry._logs.", "opentelemetry.sdk._logs."))
            }
            if names - LOGGERS:
                found[path.name] = sorted(names)
    assert found == {}


def test_declared_private_name_is_used() -> None:
    """Every private name in the needs of a patch is used by the code."""
    code = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py") if not path.name.endswith("patches.py"))
    assert {name for name in declared() - PUT_TOGETHER if name not in code} == set()
