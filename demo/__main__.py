"""Runs the whole demo, two services and their customers, each in its own process, and stops them.

The runner opens the listening sockets and passes them on. So the ports are free and known
beforehand, and a request that comes before its service is ready waits instead of failing. At the
end the services get SIGTERM, the shop first, finish their open requests and exit (``process.py``).
If the runner is killed, its children see their standard input close and do the same.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from demo.process import ENDS_WITH_STDIN, add_load_options, end_orderly

START_SECONDS = 60
"""How long a service may take to answer its first request."""

STOP_SECONDS = 15
"""How long a process may take to end after SIGTERM."""


class Processes:
    """The processes of one run. Leaving the ``with`` block stops them all, the last one first.

    ``failed`` names those that ended with another exit status than 0.
    """

    def __init__(self, data: Path, *, quiet: bool) -> None:
        self.failed: list[str] = []
        self._data = data
        self._quiet = quiet
        self._stack = ExitStack()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def service(self, name: str, listener: socket.socket, **settings: str) -> str:
        """Start the module of this name with these environment variables; return its URL."""
        child = self._start(name, [f"demo.{name}", f"--socket={listener.fileno()}"], listener.fileno(), **settings)
        self._stack.callback(self._stop, name, child)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def load(self, name: str, *arguments: str) -> None:
        """Run the load to its end."""
        child = self._start(name, ["demo.load", *arguments])
        with ExitStack() as stack:
            stack.callback(self._stop, name, child)
            child.wait()

    def _start(self, name: str, command: list[str], *inherited: int, **settings: str) -> subprocess.Popen[bytes]:
        # The children inherit the environment, and with it the settings of whatever observes the
        # runner. Only the service's name cannot be inherited, since all would share it: it is set
        # here, as a unit file or a compose file would do it.
        environment = {**os.environ, **settings, "OTEL_SERVICE_NAME": name, ENDS_WITH_STDIN: "1"}
        with ExitStack() as stack:
            log = stack.enter_context(self._log(name).open("w")) if self._quiet else None
            return subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdin=subprocess.PIPE, stderr=log, pass_fds=inherited
            )

    def _stop(self, name: str, child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin:
            child.stdin.close()
        if child.returncode != 0:
            last = self._log(name).read_text(encoding="utf-8").splitlines()[-1:] if self._quiet else []
            self.failed.append(": ".join([f"{name} ended with exit status {child.returncode}", *last]))

    def _log(self, name: str) -> Path:
        return self._data / f"{name}.log"


def await_health(url: str) -> None:
    """Return when the service answers its health check.

    Raises:
        OSError: It does not answer in time.
        HTTPException: It answers with something else.
    """
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=START_SECONDS)
    connection.request("GET", "/health")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise OSError(f"status {status}")


def run(options: argparse.Namespace, processes: Processes, data: Path) -> None:
    """Start the services and run the load; with ``--keep`` serve until a signal ends the runner."""
    loopback = "127.0.0.1"
    with socket.create_server((loopback, options.port)) as front, socket.create_server((loopback, 0)) as back:
        payments = processes.service("payments", back)
        shop = processes.service("shop", front, PAYMENTS_URL=payments, SHOP_DATA=str(data))
    for url in (payments, shop):
        await_health(url)
    print(f"shop:     {shop}", flush=True)
    processes.load(
        "shop-load",
        shop,
        f"--seconds={options.seconds}",
        f"--requests-per-second={options.requests_per_second}",
        f"--seed={options.seed}",
        f"--answers={data / 'answers.json'}",
    )
    if options.keep:
        print(f"The shop still answers at {shop}, Ctrl-C ends it.", flush=True)
        signal.pause()


def main() -> int:
    """Run the demo; 0 if every answer was the expected one and every process exited with 0."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="A small web shop and its customers")
    add_load_options(parser)
    parser.add_argument("--data", type=Path, help="folder for the shop's files (default: a temporary one)")
    parser.add_argument("--port", type=int, default=0, help="the shop's port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--keep", action="store_true", help="keep serving after the last customer, until Ctrl-C")
    parser.add_argument("--quiet", action="store_true", help="write the processes' logs into the data folder")
    options = parser.parse_args()

    end_orderly()
    with ExitStack() as stack:
        data: Path = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        data.mkdir(parents=True, exist_ok=True)
        processes = stack.enter_context(Processes(data, quiet=options.quiet))
        try:
            run(options, processes, data)
        except (OSError, http.client.HTTPException) as error:
            processes.failed.append(f"cannot run: {error}")
    for problem in processes.failed:
        print(f"demo: {problem}", file=sys.stderr)
    return 1 if processes.failed else 0


if __name__ == "__main__":
    sys.exit(main())
