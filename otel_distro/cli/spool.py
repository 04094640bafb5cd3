"""``otel-distro spool``: list what waits on the disk, and what a collector has refused."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Final

from otel_distro._runtime.state_files import state_home
from otel_distro._runtime.terminal import Page, clean, cut, duration, memory
from otel_distro.export.spool.inspection import inspect

if TYPE_CHECKING:
    from otel_distro.export.spool.inspection import Backlog

_STATES: Final = {
    "held": "held and sent by a running process",
    "waiting": "waits for the next start or for otel-distro drain",
    "rejected": "refused and kept in rejected/",
}
_SERVICE_WIDTH: Final = 24


def main(argv: list[str]) -> int:
    """Print what is in every spool of this user and return 0. Changes nothing."""
    parser = argparse.ArgumentParser(
        prog="otel-distro spool",
        description="List the telemetry that waits on this machine, for all destinations. Nothing is changed.",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON list with one object for each line of the table"
    )
    options = parser.parse_args(argv)
    found = sorted(inspect(os.environ), key=_order)
    if options.json:
        text = json.dumps([asdict(backlog) for backlog in found], indent=2) + "\n"
    else:
        text = _render(found) if found else f"Nothing waits{_where()}.\n"
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe; the interpreter must not write the rest at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _order(backlog: Backlog) -> tuple[str, int, str, float]:
    return backlog.path, list(_STATES).index(backlog.state), backlog.service, backlog.oldest


def _where() -> str:
    with suppress(OSError):
        return f" in {os.path.join(state_home(os.environ), 'otel-distro', 'spool')}"
    return ": this user has no home directory, so telemetry is kept in memory only"


def _render(found: list[Backlog]) -> str:
    page = Page.of(sys.stdout, os.environ)
    for path, group in groupby(found, key=lambda backlog: backlog.path):
        backlogs = list(group)
        page.heading(clean(", ".join(backlogs[0].targets)) or "unknown destination")
        page.line(page.paint("dim", f"  {clean(path)}"))
        page.line(page.paint("dim", f"  {'service':<{_SERVICE_WIDTH}} signal       items        size  since"))
        for backlog in backlogs:
            page.line(
                f"  {cut(backlog.service or page.glyphs.none, _SERVICE_WIDTH, page.glyphs)} {cut(backlog.signal, 8, page.glyphs)}"
                f" {backlog.items:>9,} {memory(backlog.bytes):>11}  {_since(backlog.oldest, page)}"
            )
            page.line(page.paint("red" if backlog.state == "rejected" else "dim", f"    {_state(backlog)}"))
    return page.text().removeprefix("\n").removeprefix("\n")


def _since(moment: float, page: Page) -> str:
    try:
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        # A damaged file may hold any time.
        return "unknown"
    age = time.time() - moment
    return f"{written} ({duration(int(age) * 10**9, page.glyphs)} ago)" if age >= 1 else f"{written} (just now)"


def _state(backlog: Backlog) -> str:
    state = _STATES[backlog.state]
    if backlog.reason:
        state += f": {clean(backlog.reason)}"
    if backlog.damaged:
        state += f"; {backlog.damaged} damaged regions are unreadable"
    return state
