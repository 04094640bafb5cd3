"""An unreachable collector costs a program one line on stderr and a bounded exit delay."""

from __future__ import annotations

import pytest

from tests.support.processes import Completed, free_port
from tests.support.programs import INSTRUMENT, RUN, Command, Launcher
from tests.support.receiver import Receiver

ALLOWED = 2.0
"""Seconds that a run without a collector may take longer than the bare one."""

SLACK = 4.0
"""Seconds for starting telemetry on a busy machine. Upstream needs 15 to 26 to exit."""


def check_unharmed(traced: Completed, bare: Completed) -> None:
    """Check that two runs differ only in diagnostics on stderr and by at most the allowed time."""
    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout) == (7, "begin\nend\n")
    assert [line for line in traced.stderr.splitlines() if not line.startswith("otel-distro: ")] == ["talking"]
    assert traced.seconds < bare.seconds + ALLOWED + SLACK


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_collector_down_program_exits_in_time_and_a_later_one_delivers(command: Command, launcher: Launcher) -> None:
    """The program exits in time and reports the endpoint; a later one delivers, once."""
    port = free_port()
    launcher.endpoint = f"http://127.0.0.1:{port}"
    bare = launcher.run("talker.py", "7", command="bare")
    traced = launcher.run("talker.py", "7", command=command)
    check_unharmed(traced, bare)
    assert any("cannot deliver" in line and launcher.endpoint in line for line in traced.diagnostics())
    receiver = Receiver(port)
    try:
        later = launcher.serve("idle.py", command=command, OTEL_DISTRO_PROCESS_METRICS_DELAY="0.1")
        receiver.wait_for(
            lambda r: r.logs("talking") and r.spans("SELECT") and r.points("db.client.operation.duration")
        )
        later.stop()
    finally:
        receiver.stop()
    assert len(receiver.logs("talking")) == len(receiver.spans("SELECT")) == 1
    assert receiver.total("db.client.operation.duration") == 1
    assert receiver.logs()[0].resource["process.pid"] != later.pid


def test_collector_that_never_answers_does_not_delay_exit(launcher: Launcher, receiver: Receiver) -> None:
    """A collector that never answers delays exit no more than a missing one."""
    bare = launcher.run("talker.py", "7", command="bare")
    receiver.hang()
    traced = launcher.run("talker.py", "7")
    check_unharmed(traced, bare)
    assert any("not delivered" in line for line in traced.diagnostics())


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_collector_that_answers_an_error_status_is_reported(
    status: int, launcher: Launcher, receiver: Receiver
) -> None:
    """Every status other than 200 is printed in one line, and the exit is not delayed."""
    bare = launcher.run("talker.py", "7", command="bare")
    receiver.status = status
    traced = launcher.run("talker.py", "7")
    check_unharmed(traced, bare)
    assert any(f"HTTP {status}" in line for line in traced.diagnostics())
    assert receiver.requests


def test_diagnostics_off_prints_nothing(launcher: Launcher) -> None:
    """With OTEL_DISTRO_DIAGNOSTICS=off the distribution prints nothing on stderr."""
    dead = f"http://127.0.0.1:{free_port()}"
    traced = launcher.run("talker.py", "7", OTEL_EXPORTER_OTLP_ENDPOINT=dead, OTEL_DISTRO_DIAGNOSTICS="off")
    assert (traced.returncode, traced.stderr) == (7, "talking\n")


def test_collector_back_after_an_outage_receives_each_item_once(launcher: Launcher) -> None:
    """A running program delivers the backlog once the collector is back, each item once."""
    port = free_port()
    server_port = free_port()
    server = launcher.serve("flask_shop.py", str(server_port), OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    for number in range(1, 6):
        assert server.ask(f"http://127.0.0.1:{server_port}/items/{number}")[0] == 200
    server.wait_for_log("cannot deliver")
    receiver = Receiver(port)
    try:
        receiver.wait_for(lambda r: {f"item {number}" for number in range(1, 6)} <= {log.body for log in r.logs()})
        server.wait_for_log("delivering to .* again")
        receiver.wait_for(lambda r: len([span for span in r.spans() if span.kind == 2]) == 5)
        assert server.stop() == -15
        assert all(len(receiver.logs(f"item {number}")) == 1 for number in range(1, 6))
        assert len([span for span in receiver.spans() if span.kind == 2]) == 5
    finally:
        receiver.stop()
