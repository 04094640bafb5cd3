"""Code of an application that fails, run from a function or from a file."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def error_of(work: Callable[..., Any], *args: Any) -> BaseException:
    """Return the exception that ``work`` raises, with its traceback."""
    try:
        work(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{work} did not raise")


def fails_in(folder: Path, source: str, name: str = "shop.py") -> BaseException:
    """Run ``source`` as a file of this name in ``folder`` and return the exception it raises."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(source, encoding="utf-8")
    return error_of(runpy.run_path, str(file))
