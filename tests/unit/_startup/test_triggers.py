"""The tables of instrumentors name what exists, and agree with upstream's."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points

import pytest
from opentelemetry.instrumentation.bootstrap_gen import libraries

from otel_distro._startup import compatibility, triggers

ROWS = [(row[1], row[2]) for row in triggers.ON_IMPORT] + [(row[3], row[4]) for row in triggers.FIRST_CALL if row[4]]
NAMES = {name for name, _ in ROWS} | {row[0] for row in triggers.ALWAYS} | {"api"}
INSTALLED = {point.name: point.value for point in entry_points(group="opentelemetry_instrumentor")}


@pytest.mark.parametrize(("name", "where"), sorted(set(ROWS) | set(triggers.ALWAYS)))
def test_trigger_row_names_the_installed_entry_point(name: str, where: str) -> None:
    """A row names the target of the installed entry point, or the one that replaces it."""
    assert re.fullmatch(r"[\w.]+:\w+", where)
    if where.startswith("otel_distro."):
        module, _, attribute = where.partition(":")
        assert hasattr(importlib.import_module(module), attribute)
    elif name in INSTALLED:
        assert where == INSTALLED[name]


def test_trigger_rows_are_unique() -> None:
    """No row stands twice, and a name of several rows has one target."""
    assert len(triggers.ON_IMPORT) == len(set(triggers.ON_IMPORT))
    assert len(triggers.FIRST_CALL) == len(set(triggers.FIRST_CALL))
    places: dict[str, set[str]] = {}
    for name, where in ROWS:
        places.setdefault(name, set()).add(where)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("row", triggers.FIRST_CALL, ids=lambda row: ".".join(row[:3]))
def test_trigger_function_exists_as_a_plain_function(row: tuple[str, str, str, str, str]) -> None:
    """Every function that gets a trampoline exists in the versions that the tests run with."""
    module, owner, attribute = row[:3]
    place = importlib.import_module(module)
    holder = getattr(place, owner) if owner else place
    assert callable(getattr(holder, attribute))
    assert not owner or not isinstance(vars(holder).get(attribute), (staticmethod, classmethod, property))


def test_trigger_tables_cover_the_instrumentors_of_upstream() -> None:
    """Every instrumentor that upstream's ``bootstrap`` installs has a row, or a reason why not."""
    prefix = "opentelemetry-instrumentation-"
    packages = {re.split(r"[=<>~!]", row["instrumentation"])[0] for row in libraries}
    upstream = {package.removeprefix(prefix) for package in packages if package.startswith(prefix)}
    known = {name.replace("_", "-") for name in NAMES | compatibility.REPLACED.keys() | set(compatibility.PROVIDED)}
    # Packages of several entry points, of one by another name, and a middleware that others use.
    other = {"grpc": "grpc-client", "kafka-python": "kafka", "boto3sqs": "boto3", "asgi": "fastapi"}
    missing = {name for name in upstream if other.get(name, name) not in known}
    # Those that start telemetry when their library is imported are loaded by their entry points, whatever these are.
    by_entry_point = ("anthropic", "google-genai", "langchain", "llamaindex", "openai", "vertexai", "genai")
    assert {name for name in missing if not name.startswith(by_entry_point)} == set()


def test_compatibility_tables_name_known_instrumentors() -> None:
    """Wider ranges belong to rows; what is replaced has none."""
    assert compatibility.WIDENED.keys() <= NAMES
    assert not compatibility.REPLACED.keys() & NAMES
    assert all(reason and not reason.endswith(".") for reason in compatibility.REPLACED.values())


def test_package_of_returns_the_name_of_upstream() -> None:
    """The package of an instrumentor is named as upstream names them."""
    assert compatibility.package_of("aiohttp_client") == "opentelemetry-instrumentation-aiohttp-client"
