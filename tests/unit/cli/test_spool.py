"""``otel-distro spool`` and ``otel-distro drain`` as processes, on what real programs left."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._startup import compatibility
from otel_distro.cli import drain
from tests.support import processes
from tests.support.items import span_names
from tests.support.otlp_server import Server, http
from tests.support.processes import free_port
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import logging
from opentelemetry import metrics, trace
orders = metrics.get_meter("shop").create_counter("orders")
for number in range(3):
    with trace.get_tracer("shop").start_as_current_span(f"order {number}"):
        logging.getLogger("shop").warning("order %d", number)
        orders.add(1)
"""
HELD = """
import sys
from opentelemetry import trace
with trace.get_tracer("shop").start_as_current_span("held"):
    pass
trace.get_tracer_provider().force_flush(1000)
print("ready", flush=True)
sys.stdin.read()
"""


class Shop:
    """A program, the commands, and a port with or without a Collector."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    @property
    def endpoint(self) -> str:
        """The endpoint of all telemetry."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the settings of the program and of the commands."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_DISTRO_HOST_METRICS": "false",
            **changes,
        }

    def leave(self, **changes: str) -> None:
        """Run the program without a Collector."""
        (self.folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        command = (*processes.RUN, sys.executable, "program.py")
        assert processes.run(self.folder, *command, **self.environment(**changes)).returncode == 0

    def command(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ``otel-distro``."""
        return processes.run(self.folder, sys.executable, "-m", "otel_distro", *words, **self.environment(**changes))

    def spool(self) -> list[dict[str, Any]]:
        """Return what ``spool --json`` prints."""
        done = self.command("spool", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop without a Collector."""
    return Shop(tmp_path)


@pytest.fixture
def receiver(shop: Shop) -> Iterator[Receiver]:
    """The shop's Collector; a test requests it by name when it is to start."""
    running = Receiver(shop.port)
    yield running
    running.stop()


def test_commands_without_a_backlog_say_so_and_create_nothing(shop: Shop) -> None:
    """Without a backlog both commands print one sentence, return 0 and create no file."""
    spool, drain = shop.command("spool"), shop.command("drain")
    assert (spool.returncode, spool.stderr) == (0, "")
    assert spool.stdout == f"Nothing waits in {shop.folder}/state/otel-distro/spool.\n"
    assert (drain.returncode, drain.stdout, drain.stderr) == (0, f"Nothing waits for {shop.endpoint}.\n", "")
    assert shop.spool() == []
    assert not (shop.folder / "state").exists()


def test_spool_lists_what_an_ended_program_left(shop: Shop) -> None:
    """Table and JSON show service, destination, signal, items, bytes and time of what waits."""
    shop.leave()
    found = {backlog["signal"]: backlog for backlog in shop.spool()}
    assert found.keys() == {"traces", "logs", "metrics"}
    assert (found["traces"]["items"], found["logs"]["items"]) == (3, 3)
    for backlog in found.values():
        assert (backlog["service"], backlog["targets"], backlog["state"]) == ("shop", [shop.endpoint], "waiting")
        assert backlog["bytes"] > 0
        assert backlog["oldest"] > 1e9
    text = shop.command("spool").stdout
    assert text.startswith(f"{shop.endpoint}\n")
    assert re.search(r"shop +traces +3 +\d+ \w+  20\d\d-", text)


def test_drain_without_a_collector_keeps_everything(shop: Shop) -> None:
    """Without a Collector it prints how much is left and why, returns 1 and loses nothing."""
    shop.leave()
    before = Counter({b["signal"]: b["items"] for b in shop.spool()})
    done = shop.command("drain")
    assert (done.returncode, done.stderr) == (1, "")
    lines = sorted(done.stdout.splitlines())
    assert [line.split()[0] for line in lines] == ["logs", "metrics", "traces"]
    assert all(f"left on the disk ({shop.endpoint}: ConnectionRefusedError" in line for line in lines)
    assert Counter({b["signal"]: b["items"] for b in shop.spool()}) == before


def test_drain_sends_each_item_once(shop: Shop, request: pytest.FixtureRequest) -> None:
    """The telemetry of two programs arrives, each item once; a second drain sends nothing."""
    shop.leave()
    shop.leave()
    points = sum(b["items"] for b in shop.spool() if b["signal"] == "metrics")
    receiver: Receiver = request.getfixturevalue("receiver")
    done = shop.command("drain")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["logs     6 sent", f"metrics  {points} sent", "traces   6 sent"]
    assert Counter(s.name for s in receiver.spans()) == {"order 0": 2, "order 1": 2, "order 2": 2}
    assert len({span.span_id for span in receiver.spans()}) == 6
    assert Counter(log.body for log in receiver.logs()) == {"order 0": 2, "order 1": 2, "order 2": 2}
    assert receiver.total("orders") == 6
    assert shop.spool() == []
    requests = len(receiver.requests)
    assert shop.command("drain").stdout == f"Nothing waits for {shop.endpoint}.\n"
    assert len(receiver.requests) == requests


def test_drain_with_the_spool_switched_off_still_empties_the_disk(shop: Shop, request: pytest.FixtureRequest) -> None:
    """Records that were written before the spool was switched off are sent all the same."""
    shop.leave()
    receiver: Receiver = request.getfixturevalue("receiver")
    assert shop.command("drain", OTEL_DISTRO_SPOOL="off", OTEL_DISTRO_SPOOL_MAX_BYTES="0").returncode == 0
    assert len(receiver.spans()) == 3
    assert shop.spool() == []


def test_drain_keeps_refused_items_and_spool_lists_them(shop: Shop, request: pytest.FixtureRequest) -> None:
    """Refused items no longer wait; ``drain`` prints them, ``spool`` shows why."""
    shop.leave()
    receiver: Receiver = request.getfixturevalue("receiver")
    receiver.status = 400
    done = shop.command("drain")
    assert done.returncode == 0
    assert "traces   3 refused and kept in rejected/ (HTTP 400 Bad Request)" in done.stdout.splitlines()
    found = shop.spool()
    assert {backlog["state"] for backlog in found} == {"rejected"}
    assert {backlog["reason"] for backlog in found} == {"HTTP 400 Bad Request"}
    assert sum(backlog["items"] for backlog in found if backlog["signal"] == "traces") == 3
    assert "refused and kept in rejected/: HTTP 400 Bad Request" in shop.command("spool").stdout


def test_drain_leaves_other_destinations_alone(shop: Shop, request: pytest.FixtureRequest) -> None:
    """Records for another endpoint are not sent to this one, and a line mentions them."""
    elsewhere = f"http://127.0.0.1:{free_port()}"
    shop.leave(OTEL_EXPORTER_OTLP_ENDPOINT=elsewhere)
    receiver: Receiver = request.getfixturevalue("receiver")
    done = shop.command("drain")
    assert done.returncode == 0
    assert "Telemetry waits for other endpoints" in done.stdout
    assert receiver.requests == []
    assert {tuple(backlog["targets"]) for backlog in shop.spool()} == {(elsewhere,)}


def test_drain_leaves_the_segments_of_a_running_process(shop: Shop, request: pytest.FixtureRequest) -> None:
    """Segments that a running process sends are listed as held and are not drained."""
    (shop.folder / "held.py").write_text(HELD, encoding="utf-8")
    running = subprocess.Popen(
        [*processes.RUN, sys.executable, "held.py"],
        cwd=shop.folder,
        env=processes.environment(shop.folder, **shop.environment(OTEL_METRICS_EXPORTER="none")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        assert {(b["signal"], b["state"], b["items"]) for b in shop.spool()} == {("traces", "held", 1)}
        done = shop.command("drain")
        assert done.returncode == 0
        assert "Running processes hold 1 items and send them themselves." in done.stdout
        running.kill()
    assert {(b["signal"], b["state"]) for b in shop.spool()} == {("traces", "waiting")}
    receiver: Receiver = request.getfixturevalue("receiver")
    assert shop.command("drain").stdout == "traces   1 sent\n"
    assert [span.name for span in receiver.spans()] == ["held"]


@pytest.mark.parametrize("bad", ["0", "-1", "soon", "inf"])
def test_drain_with_an_invalid_timeout_changes_nothing(shop: Shop, bad: str) -> None:
    """An invalid ``--timeout`` is refused before anything is touched."""
    shop.leave()
    done = shop.command("drain", f"--timeout={bad}")
    assert done.returncode == 2
    assert "--timeout" in done.stderr
    assert {backlog["state"] for backlog in shop.spool()} == {"waiting"}


def test_drain_that_times_out_in_a_bisection_leaves_only_the_rest(shop: Shop) -> None:
    """The Collector stops answering in a bisection: what it accepted is not sent again."""
    shop.leave(OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    with Server(http("400 Bad Request"), http(), port=shop.port) as server:
        server.answers.append(server.hang)
        done = shop.command("drain", "--timeout=2")
        assert (done.returncode, done.stderr) == (1, "")
        taken = span_names(server.requests[1:2])
        assert len(taken) in (1, 2)
        left = 3 - len(taken)
        assert done.stdout.startswith(f"traces   {len(taken)} sent, {left} left on the disk (")
        assert not server.closing.is_set()
    assert sum(backlog["items"] for backlog in shop.spool()) == left
    with Server(port=shop.port) as server:
        assert shop.command("drain").stdout == f"traces   {left} sent\n"
        assert sorted([*taken, *span_names(server.requests)]) == ["order 0", "order 1", "order 2"]
    assert shop.spool() == []


def test_drain_beside_unsupported_release_sends_nothing_and_prints_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The spool is not read, and the message has the command to run first."""
    monkeypatch.setattr(compatibility, "TRAINS", (("1.99.", "0.99b"),))
    assert drain.main([]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("otel-distro: drain: nothing was sent: opentelemetry-api ")
    assert first.endswith("[OD808]")
    assert " install 'opentelemetry-api" in second
