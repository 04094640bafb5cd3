"""Unpatched copies of modules of other packages."""

from __future__ import annotations

import importlib.util
from typing import Any


def copy_of(name: str) -> Any:
    """Return another copy of the module, which is not in ``sys.modules``."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
