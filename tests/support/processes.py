"""Child processes of tests: run to their end, or kept running in the background.

Every test that starts a program starts it here. :mod:`tests.support.programs` adds the programs of
``tests/e2e/apps`` and the commands that instrument them.
"""

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
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BIN = Path(sys.executable).parent
"""The folder of the installed commands."""

RUN = (sys.executable, "-m", "otel_distro", "run", "--")
NOWHERE = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
"""Settings with which telemetry is on and nothing is sent."""

RUN_TIMEOUT_S = 90.0
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.05
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProcessError(AssertionError):
    """A process did not do what the test waited for; the message has the end of its log."""


class Completed(subprocess.CompletedProcess[str]):
    """A process that ended; ``seconds`` is the time from its start to its end."""

    def __init__(
        self, command: Sequence[str | Path], returncode: int, stdout: str, stderr: str, seconds: float
    ) -> None:
        super().__init__(list(map(str, command)), returncode, stdout, stderr)
        self.seconds = seconds

    def diagnostics(self) -> list[str]:
        """Return the lines that the distribution printed on stderr."""
        return [line for line in self.stderr.splitlines() if line.startswith("otel-distro: ")]


def environment(folder: Path, **changes: str | None) -> dict[str, str]:
    """Return the environment of this process without settings of telemetry, Python and pytest.

    Temporary files and state go to ``folder``: processes of one host share locks and undelivered
    telemetry there, and tests must not share them.

    Args:
        folder: The folder of the test.
        **changes: Variables to set; None removes a variable.
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
        **changes,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def run_command(
    command: Sequence[str | Path], folder: Path, env: Mapping[str, str], timeout: float = RUN_TIMEOUT_S
) -> Completed:
    """Run a command in ``folder`` and wait for its end.

    Raises:
        ProcessError: It did not end within ``timeout`` seconds; its process group is killed.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        stdout, stderr = process.communicate()
        raise ProcessError(f"{command} did not end within {timeout} s:\n{stdout}\n{stderr}") from None
    return Completed(command, process.returncode, stdout, stderr, time.monotonic() - started)


def run(folder: Path, *command: str | Path, **changes: str | None) -> Completed:
    """Run a command in the :func:`environment` of ``folder`` and wait for its end."""
    return run_command(command, folder, environment(folder, **changes))


def bare_and_ours(folder: Path, program: str) -> list[tuple[int, str, str]]:
    """Run a program bare and instrumented (exporting nothing).

    Args:
        folder: The working folder.
        program: The source of the program.

    Returns:
        Exit status, stdout and stderr of the bare run, and those of the instrumented run.
    """
    (folder / "program.py").write_text(program, encoding="utf-8")
    command = (sys.executable, "program.py")
    both = (run(folder, *command), run(folder, *RUN, *command, **NOWHERE))
    return [(completed.returncode, completed.stdout, completed.stderr) for completed in both]


class Process:
    """A process in the background, in a new process group; a file has its stdout and stderr."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> None:
        """Start the command in ``folder``, with its output in ``<name>.log`` there."""
        self.name = name
        self.log_file = folder / f"{name}.log"
        self._command = list(command)
        self._folder = folder
        self._env = dict(env)
        self.start()

    def start(self) -> None:
        """Start the command; again, once it ended. Its output is added to the log."""
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """The stdout and stderr so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.splitlines()[-lines:])

    def ask(self, url: str, timeout: float = 30) -> tuple[int, str]:
        """GET a URL and return status and body; retry while nothing answers there.

        Raises:
            ProcessError: The process ended, or nothing answered in time.
        """
        answer: tuple[int, str] = (0, "")
        problem: OSError | None = None

        def answered() -> bool:
            nonlocal answer, problem
            try:
                answer = _get(url, timeout)
            except OSError as error:
                problem = error
                return False
            return True

        self._wait_until(answered, timeout, lambda: f"{url} does not answer ({problem})")
        return answer

    def wait_for_status(self, url: str, wanted: int, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until a URL answers with the HTTP status ``wanted``.

        Raises:
            ProcessError: The process ended, or did not answer so in time.
        """
        answer: object = "nothing"

        def answered() -> bool:
            nonlocal answer
            try:
                status, _ = _get(url, 5)
            except OSError as error:
                answer = error
                return False
            answer = f"HTTP {status}"
            return status == wanted

        self._wait_until(answered, timeout, lambda: f"{url} does not answer HTTP {wanted} but {answer}")

    def wait_for_log(self, pattern: str, times: int = 1, timeout: float = 30) -> None:
        """Wait until the log has at least ``times`` matches of ``pattern``.

        Raises:
            ProcessError: The process ended before, or the matches did not appear in time.
        """
        self._wait_until(
            lambda: len(re.findall(pattern, self.log)) >= times,
            timeout,
            lambda: f"{pattern!r} is not {times} times in the log",
        )

    def stop(self, number: int = signal.SIGTERM, timeout: float = STOP_TIMEOUT_S) -> int:
        """Send a signal to the process that was started and return its exit status.

        Raises:
            ProcessError: It still runs after ``timeout`` seconds.
        """
        self._process.send_signal(number)
        return self.wait(timeout)

    def stop_group(self, number: int) -> int:
        """Send a signal to the process group, as a terminal does; return the leader's status."""
        os.killpg(self.pid, number)
        return self.wait()

    def wait(self, timeout: float = STOP_TIMEOUT_S) -> int:
        """Wait for the end of the process that was started and return its exit status.

        Raises:
            ProcessError: It still runs after ``timeout`` seconds.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} still runs after {timeout} s:\n{self.tail()}") from None

    def kill(self) -> None:
        """Send SIGKILL to the process group."""
        _kill_group(self._process)
        self._process.wait()

    def _wait_until(self, condition: Callable[[], bool], timeout: float, problem: Callable[[], str]) -> None:
        deadline = time.monotonic() + timeout
        while True:
            # Asked before the condition: the process may write what is waited for and end.
            status = self._process.poll()
            if condition():
                return
            if status is not None:
                raise ProcessError(f"{self.name} ended with {status}: {problem()}; its log:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name}: {problem()} after {timeout:.0f} s; its log:\n{self.tail()}")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_INTERVAL_S)


def free_ports(count: int) -> list[int]:
    """Return ``count`` different TCP ports that are free on loopback now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def free_port() -> int:
    """Return a TCP port that is free on loopback now."""
    return free_ports(1)[0]


def _get(url: str, timeout: float) -> tuple[int, str]:
    try:
        with _HTTP.open(url, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _kill_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
