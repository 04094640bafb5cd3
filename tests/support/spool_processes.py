"""Spools in a folder of the test, and programs that use one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import otel_distro
from otel_distro.export.spool.accounting import SpoolAccounting
from otel_distro.export.spool.directory import Directory
from otel_distro.export.spool.spool import Spool, open_spool
from otel_distro.export.spool.store import SegmentStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_distro.export.spool.clock import Clock

ROOT = Path(otel_distro.__file__).parent.parent
KEY = "k1"
LINE = 16


def body(number: int) -> bytes:
    """Return a body that stays recognisable among those it is joined with."""
    return b"%015d\n" % number


def numbers(data: bytes) -> list[int]:
    """Return the numbers of joined bodies."""
    assert len(data) % LINE == 0
    return [int(line) for line in data.splitlines()]


def spool(home: Path, key: str = KEY, **settings: object) -> Spool:
    """Open a spool below ``home``; ``max_bytes=1`` sets ``OTEL_DISTRO_SPOOL_MAX_BYTES=1``."""
    environ = {"XDG_STATE_HOME": str(home)}
    for name, value in settings.items():
        environ[f"OTEL_DISTRO_SPOOL_{name.upper()}"] = str(value)
    return open_spool(environ, key, "shop", ["http://collector:4318"])


def timed_spool(home: Path, clock: Clock, age: float = 48 * 3600.0) -> Spool:
    """Open a spool with a clock of the test."""
    accounting = SpoolAccounting()
    directory = Directory(str(home), KEY)
    return Spool(SegmentStore(directory, "shop", accounting, clock, limit=1 << 28, age=age, durable=False), accounting)


def drain(source: Spool, signal: str = "traces", max_bytes: int = 1 << 20) -> list[int]:
    """Lease and acknowledge everything of a signal; return its numbers in order."""
    found: list[int] = []
    while (batch := source.lease(signal, max_bytes)) is not None:
        got = numbers(batch.body)
        assert len(got) == batch.count
        found += got
        source.acknowledge(batch)
    return found


def adopt_all(source: Spool) -> None:
    """Adopt until there is nothing to adopt."""
    while source.adopt():
        pass


def folder(home: Path, key: str = KEY) -> Path:
    """Return the folder of a destination."""
    return home / "otel-distro" / "spool" / key


def segments(home: Path, key: str = KEY) -> list[Path]:
    """Return the segments on the disk, oldest first."""
    return sorted(folder(home, key).glob("*.seg"))


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment for :func:`start`."""
    return {"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(home), "PYTHONPATH": str(ROOT), **more}


HEAD = """
import os, sys
from otel_distro.export.spool.spool import open_spool
from otel_distro.export.spool.inspection import inspect
from tests.support.spool_processes import adopt_all, body, drain
spool = open_spool(os.environ, "k1", "shop", ["http://collector:4318"])
def report(text):
    os.write(1, f"{text}\\n".encode())
"""


def start(script: str, home: Path, *arguments: str, prefix: Iterable[str] = (), **more: str) -> subprocess.Popen[bytes]:
    """Start a program in which ``spool`` is the spool of ``home`` and ``report`` prints a line."""
    command = [*prefix, sys.executable, "-c", HEAD + script, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(home, **more), cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


def run(script: str, home: Path, *arguments: str, prefix: Iterable[str] = (), **more: str) -> tuple[list[str], str]:
    """Run such a program, which must return 0; return the words it printed, and its stderr."""
    with start(script, home, *arguments, prefix=prefix, **more) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return out.decode().split(), err.decode()
