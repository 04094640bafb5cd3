"""The programs in ``tests/e2e/apps``, and the commands that users start programs with."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.support.processes import BIN, Completed, Process, environment, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

APPS = Path(__file__).parents[1] / "e2e" / "apps"

Command = Literal["bare", "opentelemetry-instrument", "otel-distro run"]
COMMANDS: Mapping[Command, Sequence[str]] = {
    "bare": (),
    "opentelemetry-instrument": (str(BIN / "opentelemetry-instrument"),),
    "otel-distro run": (str(BIN / "otel-distro"), "run", "--"),
}
INSTRUMENT: Command = "opentelemetry-instrument"
RUN: Command = "otel-distro run"


def argv(command: Command, words: Sequence[str | Path]) -> list[str]:
    """Return the command line that runs a program under ``command``.

    Args:
        command: The command in front of the program.
        words: Options and script of Python, or a program, each with its arguments. A first word
            ``x.py`` is the app of this name.
    """
    first, *rest = (str(word) for word in words)
    if first.endswith(".py"):
        return [*COMMANDS[command], sys.executable, str(APPS / first), *rest]
    return [*COMMANDS[command], *((sys.executable,) if first.startswith("-") else ()), first, *rest]


class Launcher:
    """Starts programs in ``folder`` with telemetry sent to ``endpoint``."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self._processes: list[Process] = []

    def run(self, *words: str | Path, command: Command = INSTRUMENT, **changes: str | None) -> Completed:
        """Run a program and wait for its end.

        Args:
            words: The program and its arguments, see :func:`argv`.
            command: The command in front of it.
            **changes: Environment variables to set; None removes a variable.

        Raises:
            ProcessError: It did not end in time.
        """
        return run(self.folder, *argv(command, words), **self._changes(changes))

    def serve(self, *words: str | Path, command: Command = INSTRUMENT, **changes: str | None) -> Process:
        """Start a program in the background; see :meth:`run`. :meth:`close` kills it."""
        process = Process(
            f"server-{len(self._processes)}",
            argv(command, words),
            folder=self.folder,
            env=environment(self.folder, **self._changes(changes)),
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kill the programs that still run, with their children."""
        for process in self._processes:
            process.kill()

    def _changes(self, changes: Mapping[str, str | None]) -> dict[str, str | None]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, **changes}


def without_false_warnings(stderr: str) -> str:
    """Return ``stderr`` without the false warnings of Python 3.13.0 to 3.13.9 at a fork.

    They count threads after the after-fork hooks, which start threads again, not at the fork:
    https://github.com/python/cpython/issues/137109
    """
    if not (3, 13) <= sys.version_info < (3, 13, 10):
        return stderr
    return re.sub(r".*DeprecationWarning: This process .* is multi-threaded.*\n(  .*\n)?", "", stderr)


def fake_package(folder: Path, name: str, version: str, module: str = "", entry_points: Iterable[str] = ()) -> Path:
    """Write a package with the metadata of an installed one.

    Args:
        folder: Where to write it; put it on PYTHONPATH.
        name: The name of the distribution.
        version: Its version.
        module: The source of its only module; none is written where it is empty.
        entry_points: The lines of ``entry_points.txt``.

    Returns:
        ``folder``.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join([*entry_points, ""]), encoding="utf-8")
    if module:
        (folder / f"{name.replace('-', '_')}.py").write_text(module, encoding="utf-8")
    return folder
