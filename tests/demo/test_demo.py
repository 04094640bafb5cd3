"""The demo application, run as a user runs it: ``python -m demo``, all its processes real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
MARK = "DEMO_TEST_RUN"

# Leaves a file named like the service when the interpreter runs its exit handlers.
SITECUSTOMIZE = """
import atexit, os, pathlib
atexit.register(lambda: pathlib.Path(__file__).with_name(os.environ.get("OTEL_SERVICE_NAME", "runner")).touch())
"""


class Run:
    """One run of the demo with its files in ``data``; its processes are found by a mark in their environment."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.url = ""
        self.exits = data / "exits"
        self._mark = uuid.uuid4().hex
        self.exits.mkdir(parents=True)
        (self.exits / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        self.runner = subprocess.Popen(
            [sys.executable, "-m", "demo", "--data", str(data), "--quiet", *arguments],
            cwd=ROOT,
            env={**environment, MARK: self._mark, "PYTHONPATH": str(self.exits)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> Run:
        """Wait for the end of the runner."""
        self.stdout, self.stderr = self.runner.communicate(timeout=60)
        return self

    def read_until(self, words: str) -> str:
        """Return the line of standard output that has these words."""
        assert self.runner.stdout
        return next(line for line in self.runner.stdout if words in line)

    def processes(self) -> list[psutil.Process]:
        """Return the processes of this run that live."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark
        except psutil.Error:
            return False

    def answers(self) -> dict[tuple[str, int], int]:
        """Return what the shop answered, by route and status."""
        rows = json.loads((self.data / "answers.json").read_text(encoding="utf-8"))
        return {(row["route"], row["status"]): row["count"] for row in rows}

    def log(self, name: str) -> str:
        """Return what one process logged."""
        return (self.data / f"{name}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        """End what a failed test left behind."""
        for process in self.processes():
            process.kill()
        self.runner.communicate()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Three seconds of the demo, from its start to its end."""
    run = Run(tmp_path_factory.mktemp("demo"), "--seconds=3", "--seed=1")
    try:
        yield run.finish()
    finally:
        run.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Run]:
    """A demo that keeps serving after its last customer."""
    run = Run(tmp_path / "data", "--seconds=1", "--keep")
    try:
        run.url = run.read_until("still answers").split()[5].rstrip(",")
        yield run
    finally:
        run.close()


def test_ends_by_itself(run: Run) -> None:
    """The run ends with status 0, a summary of the business, and nothing on standard error."""
    assert (run.runner.returncode, run.stderr) == (0, "")
    assert re.search(r"^requests: \d+, 0 with an unexpected answer$", run.stdout, re.MULTILINE)
    assert re.search(r"^orders:   \d+ placed, \d+ refused, \d+ out of stock, \d+ failed$", run.stdout, re.MULTILINE)


def test_leaves_no_process_behind(run: Run) -> None:
    """When the runner has ended, so have its children."""
    assert run.processes() == []


def test_every_process_has_a_name_and_an_orderly_end(run: Run) -> None:
    """Each child has a service name of its own, and exit handlers run in all of them."""
    assert {path.name for path in run.exits.iterdir() if path.suffix == "" and path.is_file()} == {
        "payments",
        "runner",
        "shop",
        "shop-load",
    }


def test_serves_every_route(run: Run) -> None:
    """Three seconds are enough to see every route with every status it can give."""
    assert set(run.answers()) == {
        ("GET /products", 200),
        ("GET /products/{number}", 200),
        ("GET /products/{number}", 404),
        ("POST /orders", 201),
        ("POST /orders", 402),
        ("POST /orders", 409),
        ("POST /orders", 500),
        ("POST /orders", 502),
        ("GET /orders/{number}", 200),
        ("GET /reports/sales", 200),
        ("GET /reports/quiet", 200),
        ("POST /import", 200),
        ("POST /import", 403),
        ("POST /import", 404),
    }


@pytest.mark.parametrize(
    "line",
    [
        r"INFO    shop.orders: order \d+ placed: \d x .*, [\d.]+ EUR",
        r"WARNING shop.orders: order \d+ refused",
        r"WARNING shop.orders: silver spoon is out of stock",
        r"ERROR   shop.orders: order \d+ failed: not charged\nTraceback",
        r"ERROR   uvicorn.error: Exception in ASGI application\n(.*\n)*?KeyError: 'XMAS2019'",
        r"ERROR   shop: price list missing.csv is missing\nTraceback(.*\n)*?FileNotFoundError",
        r"ERROR   shop: price list locked.csv may not be read\nTraceback(.*\n)*?PermissionError",
        r"ERROR   shop.background: mail for order \d+ not sent\nTraceback(.*\n)*?ConnectionError",
        r"ERROR   shop.jobs: job exchange_rates failed\nTraceback(.*\n)*?FileNotFoundError",
        r"(?s)Exception in thread .*KeyError: 'guest'",
        r"INFO    shop.jobs: sales: \d+ orders, [\d.]+ EUR",
        r"INFO    shop.jobs: stock filled up with \d+ pieces",
        r"INFO    shop: the shop is closed",
    ],
)
def test_logs_what_happens(run: Run, line: str) -> None:
    """What goes well and what goes wrong is in the shop's log, with the trace where there is one."""
    assert re.search(line, run.log("shop"))


def test_writes_its_files(run: Run) -> None:
    """There is a receipt for every order that was placed, a mail for most, and a sales report."""
    placed = run.answers()["POST /orders", 201]
    assert len(list((run.data / "receipts").iterdir())) == placed
    assert 0 < len(list((run.data / "outbox").iterdir())) < placed
    assert isinstance(json.loads((run.data / "reports" / "sales.json").read_text(encoding="utf-8")), list)


def test_one_seed_sells_the_same_at_any_pace(run: Run, tmp_path: Path) -> None:
    """The same seed gives the same answers at six times the speed; another seed gives others."""

    def orders(data: str, *arguments: str) -> list[int]:
        again = Run(tmp_path / data, "--seconds=0.5", "--requests-per-second=60", *arguments)
        try:
            answers = again.finish().answers()
        finally:
            again.close()
        return [n for (route, _), n in answers.items() if route == "POST /orders"]

    first = [n for (route, _), n in run.answers().items() if route == "POST /orders"]
    assert orders("same", "--seed=1") == first
    assert orders("other", "--seed=2") != first


def test_keeps_serving_until_it_is_stopped(kept: Run) -> None:
    """With ``--keep`` the shop answers until SIGTERM, which ends all processes with status 0."""
    with urllib.request.urlopen(f"{kept.url}/products", timeout=10) as answer:
        assert len(json.load(answer)) == 7
    kept.runner.send_signal(signal.SIGTERM)
    kept.finish()
    assert (kept.runner.returncode, kept.stderr, kept.processes()) == (0, "", [])


def test_children_end_when_the_runner_is_killed(kept: Run) -> None:
    """A runner that is killed leaves no orphans: the services close the shop and end."""
    children = psutil.Process(kept.runner.pid).children()
    kept.runner.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert (len(children), alive) == (2, [])
    assert "the shop is closed" in kept.log("shop")


def test_a_port_in_use_is_one_clear_line(kept: Run, tmp_path: Path) -> None:
    """A port that is taken gives one line and status 1, and no process stays."""
    port = kept.url.rpartition(":")[2]
    second = Run(tmp_path / "second", "--port", port)
    try:
        second.finish()
        assert second.runner.returncode == 1
        assert re.fullmatch(r"demo: cannot run: .*Address already in use.*\n", second.stderr)
        assert second.processes() == []
    finally:
        second.close()


def test_does_not_know_that_it_is_observed() -> None:
    """The program has no line of telemetry, but for its business events and the names that the runner gives its children."""
    words = re.compile(r"otel|telemetry|instrument|tracer|\bspans?\b|\bmeters?\b", re.IGNORECASE)
    found = [
        line.strip()
        for path in sorted((ROOT / "demo").iterdir())
        if path.is_file() and path.name != "business.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if words.search(line)
    ]
    assert found == ['environment = {**os.environ, **settings, "OTEL_SERVICE_NAME": name, ENDS_WITH_STDIN: "1"}']
