"""A program of the stack as a child process: started on loopback, awaited, stopped by its process id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_TIMEOUT = 90.0
STOP_TIMEOUT = 20.0


class ProcessError(Exception):
    """A program did not start; the message carries the end of its log."""


def free_ports(count: int) -> list[int]:
    """Return that many different TCP ports that nobody uses on loopback right now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Process:
    """One running program; ``ready_url`` answers 200 when it can work."""

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, ready_url: str, env: Mapping[str, str] | None = None
    ) -> None:
        """Start the program in ``folder``, with its output in ``<name>.log`` there and nothing of our environment but PATH."""
        self.name = name
        self.ready_url = ready_url
        self.log = folder / f"{name}.log"
        self._command = list(command)
        self._folder = folder
        self._env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), **(env or {})}
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                self._command, cwd=self._folder, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._child.poll() is None

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    def tail(self, lines: int = 40) -> str:
        """Return the end of the program's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the program is ready; raise :class:`ProcessError` when it ends before or takes too long."""
        deadline = time.monotonic() + timeout
        answer = "nothing"
        while self.alive and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.ready_url, timeout=5):
                    return
            except urllib.error.HTTPError as error:
                answer = f"HTTP {error.code}"
                error.close()
            except OSError as error:
                answer = str(error)
            time.sleep(0.1)
        state = f"not ready after {timeout:.0f} s ({answer})" if self.alive else f"ended with {self._child.returncode}"
        raise ProcessError(f"{self.name} {state}; the end of its log:\n{self.tail()}")

    def stop(self) -> None:
        """End the program: SIGTERM, and SIGKILL when it does not obey in time."""
        if self.alive:
            self._child.terminate()
        try:
            self._child.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the program at once, as a crash would."""
        self._child.kill()
        self._child.wait(STOP_TIMEOUT)

    def restart(self) -> None:
        """Start the program again, with the same ports and folders, after :meth:`stop` or :meth:`kill`."""
        self._child = self._start()
        self.wait_ready()
