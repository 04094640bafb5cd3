"""Code of an application that fails, written to files where a test wants them."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def error_of(work: Callable[..., Any], *args: Any) -> BaseException:
    """Return what ``work`` raises, with its traceback."""
    try:
        work(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{work} did not raise")


def fails_in(folder: Path, source: str, name: str = "shop.py") -> BaseException:
    """Return what the program ``source`` raises when it runs as a file of this name in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(source, encoding="utf-8")
    return error_of(runpy.run_path, str(file))
