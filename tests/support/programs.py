"""Runs real programs as a user runs them: a subprocess, bare or under one of the two commands that start telemetry."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

APPS = Path(__file__).parents[1] / "e2e" / "apps"
BIN = Path(sys.executable).parent

Way = Literal["bare", "opentelemetry-instrument", "otel-distro run"]
WAYS: Mapping[Way, Sequence[str]] = {
    "bare": (),
    "opentelemetry-instrument": (str(BIN / "opentelemetry-instrument"),),
    "otel-distro run": (str(BIN / "otel-distro"), "run", "--"),
}
INSTRUMENT: Way = "opentelemetry-instrument"
RUN: Way = "otel-distro run"

_TIMEOUT = 90.0


@dataclass(frozen=True)
class Ended:
    """How a program ended. ``seconds`` from its start to its end, ``cpu`` seconds it used, its children included."""

    status: int
    stdout: str
    stderr: str
    seconds: float
    cpu: float

    def ours(self) -> list[str]:
        """Return what the distribution said on stderr, line by line."""
        return [line for line in self.stderr.splitlines() if line.startswith("otel-distro: ")]


def environment(folder: Path, endpoint: str, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the test's environment without telemetry settings, with ``changes``; None removes a variable.

    The folders for temporary files and for state are the test's own: processes of one host agree there on who reports
    it, and leave there what they could not deliver.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "_OTEL_", "PYTHON", "PYTEST", "COV_")) and not key.lower().endswith("_proxy")
    }
    wanted: dict[str, str | None] = {
        **kept,
        "PATH": os.pathsep.join([str(BIN), kept.get("PATH", os.defpath)]),
        "TMPDIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        **changes,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def argv(way: Way, words: Sequence[str | Path]) -> list[str]:
    """Return the command that runs ``words`` in this way: options and programs of Python, or a command.

    A first word ``x.py`` is the app of this name.
    """
    first, *rest = (str(word) for word in words)
    if first.endswith(".py"):
        return [*WAYS[way], sys.executable, str(APPS / first), *rest]
    return [*WAYS[way], *((sys.executable,) if first.startswith("-") else ()), first, *rest]


class Launcher:
    """Runs programs in ``folder``, with telemetry to ``endpoint``."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self._servers: list[Server] = []

    def run(self, *words: str | Path, way: Way = INSTRUMENT, **changes: str | None) -> Ended:
        """Run a program to its end. ``changes`` are made to its environment."""
        started = time.monotonic()
        before = _children_cpu()
        process = subprocess.Popen(
            argv(way, words),
            cwd=self.folder,
            env=environment(self.folder, self.endpoint, changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            stdout, stderr = process.communicate()
            raise AssertionError(f"{words} did not end within {_TIMEOUT} s:\n{stdout}\n{stderr}") from None
        return Ended(process.returncode, stdout, stderr, time.monotonic() - started, _children_cpu() - before)

    def serve(self, *words: str | Path, way: Way = INSTRUMENT, **changes: str | None) -> Server:
        """Start a server; it is stopped at the end of the test if the test does not do it."""
        log = self.folder / f"server-{len(self._servers)}.log"
        server = Server(argv(way, words), self.folder, environment(self.folder, self.endpoint, changes), log)
        self._servers.append(server)
        return server

    def close(self) -> None:
        """Kill what still runs."""
        for server in self._servers:
            server.kill()


class Server:
    """A running server in a process group of its own. ``log`` has its stdout and stderr."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def ask(self, url: str, timeout: float = 30) -> tuple[int, str]:
        """GET a URL and return status and body; waits for a server that does not listen yet."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                with _OPENER.open(url, timeout=timeout) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except (urllib.error.URLError, ConnectionError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{url}: {error}\n{self.log}") from error
                self._pause()

    def wait_for_log(self, pattern: str, times: int = 1, timeout: float = 30) -> None:
        """Wait until ``pattern`` stands in the log as often as this."""
        deadline = time.monotonic() + timeout
        while len(re.findall(pattern, self.log)) < times:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{pattern!r} is not {times} times in the log:\n{self.log}")
            self._pause()

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Send the signal to the process that was started and return its exit status."""
        self._process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 30) -> int:
        """Wait for the end of the process that was started and return its exit status."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout} s:\n{self.log}") from None

    def stop_group(self, number: int) -> int:
        """Send the signal to all processes of the server, as a terminal does; return the first one's exit status."""
        os.killpg(self._process.pid, number)
        return self.wait()

    def kill(self) -> None:
        """Kill the process group, whatever is left of it."""
        _kill_group(self._process)
        self._process.wait()

    def _pause(self) -> None:
        """Wait a moment, or until the process ends."""
        try:
            self._process.wait(0.05)
        except subprocess.TimeoutExpired:
            return


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def without_wrong_warnings(stderr: str) -> str:
    """Return ``stderr`` without what Python 3.13.0 to 3.13.9 warn of wrongly at a fork.

    They count the threads after the hooks that start threads again, not at the fork:
    https://github.com/python/cpython/issues/137109
    """
    if not (3, 13) <= sys.version_info < (3, 13, 10):
        return stderr
    return re.sub(r".*DeprecationWarning: This process .* is multi-threaded.*\n(  .*\n)?", "", stderr)


def free_port() -> int:
    """Return a loopback port that was free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def fake_package(folder: Path, name: str, version: str, module: str = "", entry_points: Iterable[str] = ()) -> Path:
    """Put a package that looks installed into ``folder``, which goes on PYTHONPATH; return ``folder``.

    ``module`` is the source of its one module, ``entry_points`` are lines of ``entry_points.txt``.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join([*entry_points, ""]), encoding="utf-8")
    if module:
        (folder / f"{name.replace('-', '_')}.py").write_text(module, encoding="utf-8")
    return folder


def _children_cpu() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _kill_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
