"""Commands of click, typer or asyncclick: each works three times, or ends as it is asked to.

Run as ``commands.py LIBRARY inner COMMAND``.
"""

import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import Any


def work(times: int = 3) -> None:
    """Execute a statement and log a line, several times."""
    for number in range(times):
        sqlite3.connect(":memory:").cursor().execute("select 1")
        logging.getLogger("commands").warning("piece %d", number)


def fork() -> None:
    """Work in two children, which return from the command too."""
    for _ in range(2):
        if not os.fork():
            work(1)
            return
    for _ in range(2):
        os.wait()


def end(how: str) -> None:
    """End as click, the interpreter or a bug does."""
    import click

    ends: dict[str, BaseException] = {
        "exit-0": click.exceptions.Exit(0),
        "exit-3": click.exceptions.Exit(3),
        "sys-exit-3": SystemExit(3),
        "abort": click.Abort(),
        "interrupt": KeyboardInterrupt(),
        "usage": click.UsageError("this way"),
        "bug": ValueError("a bug"),
    }
    raise ends[how]


def click_cli() -> Callable[[], Any]:
    """Return a group in a group."""
    import click

    @click.group()
    def cli() -> None:
        pass

    @cli.group()
    def inner() -> None:
        pass

    inner.command("serve")(work)
    inner.command("fork")(fork)
    inner.command("end")(click.argument("how")(end))
    return cli


def typer_cli() -> Callable[[], Any]:
    """Return an application in an application."""
    import typer

    cli, inner = typer.Typer(), typer.Typer()

    @inner.command()
    def serve() -> None:
        work()

    @inner.command()
    def idle() -> None:
        pass

    cli.add_typer(inner, name="inner")
    return cli


def asyncclick_cli() -> Callable[[], Any]:
    """Return a group in a group, asynchronous."""
    import asyncclick

    @asyncclick.group()
    async def cli() -> None:
        pass

    @cli.group()
    async def inner() -> None:
        pass

    @inner.command()
    async def serve() -> None:
        for _ in range(3):
            work(1)
            await asyncio.sleep(0.01)

    return cli


if __name__ == "__main__":
    library = sys.argv.pop(1)
    {"click": click_cli, "typer": typer_cli, "asyncclick": asyncclick_cli}[library]()()
