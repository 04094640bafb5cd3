"""The examples in the docstrings of the public modules run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["audit", "correlation", "errors.capturing", "log"])
def test_docstring_example_of_public_module_runs(name: str) -> None:
    """Each module has at least one example, and its output is the one shown."""
    result = doctest.testmod(import_module(f"otel_distro.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
