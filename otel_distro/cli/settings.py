"""``otel-distro settings``: every variable of this distribution, its value, default and help."""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import TYPE_CHECKING, Any

from otel_distro.cli.messages import say
from otel_distro.settings import Setting, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECRET = ("KEY",)


def main(argv: list[str]) -> int:
    """Print the settings; return 1 if a value is not valid, which is marked beside it."""
    parser = argparse.ArgumentParser(
        prog="otel-distro settings",
        description="Show every OTEL_DISTRO_* variable: its value here, its default, and what it does.",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table of the documentation, without values")
    if parser.parse_args(argv).markdown:
        print(markdown(), end="")
        return 0
    bad = False
    for setting in settings():
        text, valid = _here(setting, os.environ)
        bad = bad or not valid
        print(f"{setting.name}{text}\n    {_kind(setting)}, default {_shown(setting.default) or 'unset'}")
        print(textwrap.fill(setting.help, 110, initial_indent="    ", subsequent_indent="    "))
    if bad:
        say("values marked with <- are not valid; the defaults apply", code="OD203")
    return int(bad)


def markdown(chosen: Iterable[Setting[Any]] | None = None) -> str:
    """Return the documentation's table of all settings, or of those ``chosen``."""
    rows = [
        f"| `{setting.name}` | {_cell(_kind(setting))} | {_cell(_shown(setting.default), code=True)} | {_cell(setting.help)} |"
        for setting in (settings() if chosen is None else chosen)
    ]
    return "\n".join(["| variable | kind | default | what it does |", "| --- | --- | --- | --- |", *rows, ""])


def _cell(text: str, *, code: bool = False) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`" if code and text else escaped


def _kind(setting: Setting[Any]) -> str:
    kinds = {"bool": "true or false", "int": "whole number", "float": "seconds", "str": "text"}
    return kinds.get(setting.kind) or ", ".join(setting.choices)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _here(setting: Setting[Any], environ: Mapping[str, str]) -> tuple[str, bool]:
    """Return the value in the environment for display, and whether it is valid."""
    text = environ.get(setting.name, "").strip()
    if not text:
        return "", True
    shown = "(set, not shown)" if setting.name.endswith(_SECRET) else text
    try:
        setting.parse(text)
    except ValueError as error:
        return f" = {shown}   <- {error}", False
    return f" = {shown}", True
