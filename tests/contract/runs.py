"""Runs a pair with and without the distribution, all situations against both."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.contract.client import Client
from tests.contract.evidence import Evidence, Outcome
from tests.contract.facts import FACTS, SAME
from tests.contract.servers import APPS, Pair
from tests.contract.situations import SITUATIONS
from tests.support.processes import ProcessError, free_ports
from tests.support.programs import RUN, Command, Launcher
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.contract.situations import Steps

SETTINGS = {
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "x-asked,x-secret",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE": "x-answer,x-secret-answer",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": "x-secret,x-secret-answer",
}
EXCLUDING = {"OTEL_PYTHON_EXCLUDED_URLS": "excluded/[0-9]+,healthz$"}
ARRIVAL_TIMEOUT_S = 5


@dataclass
class Run:
    """A run of a pair: its evidence, and what is left of each situation to check."""

    evidence: Evidence
    steps: dict[str, Steps] = field(default_factory=dict)
    problems: dict[str, Exception] = field(default_factory=dict)

    def check(self, name: str) -> None:
        """Check a situation or a fact.

        Raises:
            AssertionError: Something is not right.
        """
        if name in self.problems:
            raise self.problems[name]
        if name in FACTS:
            FACTS[name](self.evidence)
        else:
            with suppress(StopIteration):
                self.steps.pop(name).send(self.evidence)


class _Upstream(BaseHTTPRequestHandler):
    """Answers with the ``traceparent`` that it got."""

    def do_GET(self) -> None:
        body = self.headers.get("traceparent", "none").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def situations(pair: Pair) -> list[str]:
    """Return the situations that a pair can have."""
    return [name for name in SITUATIONS if name not in pair.without]


def cases(pairs: Iterable[Pair]) -> list[Any]:
    """Return the parameters of the tests: each pair with its situations and all facts."""
    return [
        pytest.param(pair, name, id=f"{pair}-{name}")
        for pair in pairs
        for name in (SAME if pair.unrecorded else [*situations(pair), *FACTS])
    ]


def execute(pair: Pair, folder: Path) -> Run:
    """Run a pair bare and under the distribution, at the same time."""
    receiver = Receiver()
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=upstream.serve_forever, args=(0.05,), daemon=True).start()
    env = {
        "CONTRACT_UPSTREAM": f"http://127.0.0.1:{upstream.server_port}/",
        "PYTHONPATH": str(APPS),
        "PYTHONDONTWRITEBYTECODE": "1",
        **SETTINGS,
        **pair.framework.env,
        **(EXCLUDING if pair.excluding else {}),
    }
    ports = free_ports(2)
    try:
        with ThreadPoolExecutor(2) as pool:
            arrived = threading.Event()
            bare = pool.submit(_one, pair, folder / "bare", ports[0], receiver, arrived, env, "bare")
            ours = pool.submit(_one, pair, folder / "ours", ports[1], receiver, arrived, env, RUN)
            outcome, steps, problems = ours.result()
            return Run(Evidence(pair, ports[1], outcome, bare.result()[0], receiver), steps, problems)
    finally:
        receiver.stop()
        upstream.shutdown()
        upstream.server_close()


def _wait_until_idle(pid: int) -> None:
    """Wait until a process and its children use no CPU.

    A server that still writes the last response takes Ctrl-C for a failure of that request.
    """
    before = -1.0
    for _ in range(20):
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        now = sum(sum(process.cpu_times()[:2]) for process in processes)
        if now == before:
            return
        before = now
        time.sleep(0.1)


def _one(
    pair: Pair,
    folder: Path,
    port: int,
    receiver: Receiver,
    arrived: threading.Event,
    env: dict[str, str],
    command: Command,
) -> tuple[Outcome, dict[str, Steps], dict[str, Exception]]:
    folder.mkdir()
    launcher = Launcher(folder, receiver.endpoint)
    client = Client(pair, port)
    steps: dict[str, Steps] = {}
    problems: dict[str, Exception] = {}
    try:
        process = launcher.serve(*pair.command(port), command=command, **env)
        process.ask(f"http://127.0.0.1:{port}/healthz", timeout=60)
        for name in situations(pair):
            try:
                steps[name] = SITUATIONS[name](client)
                next(steps[name])
            except Exception as problem:
                problems[name] = problem
        client.close()
        expected = len([call for call in client.calls if call.counted])
        if command == "bare":
            arrived.wait(30)
        else:
            # A span that never arrives is for the checks to say.
            with suppress(AssertionError):
                receiver.wait_for(lambda r: len([s for s in r.spans() if s.kind == 2]) >= expected, ARRIVAL_TIMEOUT_S)
            arrived.set()
        _wait_until_idle(process.pid)
        stop = process.stop_group if pair.server.group else process.stop
        status = stop(pair.server.stop)
        return Outcome(client.calls, process.log, status), steps, problems
    except ProcessError as error:
        raise ProcessError(f"{pair} {command}: {error}") from None
    finally:
        arrived.set()
        launcher.close()
