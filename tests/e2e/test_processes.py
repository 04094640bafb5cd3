"""Work in child processes is reported once, however a child ends; exit statuses stay the same."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from tests.support.processes import BIN
from tests.support.programs import APPS, INSTRUMENT, RUN, Command, Launcher, without_false_warnings
from tests.support.receiver import Receiver, instance

PIECES = [f"piece {number}" for number in (*range(20), 100, 101)]


@pytest.mark.parametrize(
    ("command", "kind", "method"),
    [
        (INSTRUMENT, "pool", "fork"),
        (INSTRUMENT, "pool", "spawn"),
        (INSTRUMENT, "pool", "forkserver"),
        (INSTRUMENT, "closed_pool", "fork"),
        (INSTRUMENT, "executor", "fork"),
        (RUN, "executor", "forkserver"),
        (INSTRUMENT, "processes", "fork"),
        (RUN, "processes", "spawn"),
        (INSTRUMENT, "fork", "-"),
        (INSTRUMENT, "killed", "-"),
    ],
)
def test_processes_every_item_of_work_is_reported_once_by_its_process(
    command: Command, kind: str, method: str, launcher: Launcher, receiver: Receiver
) -> None:
    """Log records, spans and counters add up to the work; each child is an instance of its own."""
    bare = launcher.run("workers.py", kind, method, command="bare")
    traced = launcher.run("workers.py", kind, method, command=command)
    lines = Counter(without_false_warnings(traced.stderr).splitlines())
    assert (bare.returncode, bare.stdout, Counter(bare.stderr.splitlines())) == (
        traced.returncode,
        traced.stdout,
        lines,
    )
    assert traced.returncode == 3

    assert Counter(PIECES) == Counter(log.body for log in receiver.logs())
    queries = [span for span in receiver.spans() if span.scope == "opentelemetry.instrumentation.sqlite3"]
    assert len(queries) == len(PIECES)
    done = Counter(log.resource["process.pid"] for log in receiver.logs())
    assert done == Counter(span.resource["process.pid"] for span in queries)
    names = {log.resource["process.pid"]: instance(log) for log in receiver.logs()}
    assert len(set(names.values())) == len(names) > 1
    # Counts of the parent before the fork are reported once, by the parent.
    counts = {names[pid]: count for pid, count in done.items()}
    assert counts == {instance(p): p.value for p in receiver.series("db.client.operation.duration")}
    # A helper process of multiprocessing may live long enough to report that it created no record.
    assert counts == {instance(p): p.value for p in receiver.series("otel.sdk.log.created") if p.value}


def test_processes_instance_id_of_the_user_prefixes_ids_of_children(launcher: Launcher, receiver: Receiver) -> None:
    """A service.instance.id of the user is the process's; ids of forked children begin with it."""
    launcher.run("workers.py", "fork", "-", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=pod-7,team=web")
    (parent,) = {instance(log) for log in receiver.logs("piece 100")}
    children = {instance(log) for log in receiver.logs() if log.body not in ("piece 100", "piece 101")}
    assert parent == "pod-7"
    assert len(children) == 2
    assert all(child.startswith("pod-7-") for child in children)
    assert {"web"} == {log.resource["team"] for log in receiver.logs()}


def test_processes_signal_during_the_last_delivery_keeps_status_and_telemetry(
    launcher: Launcher, receiver: Receiver
) -> None:
    """A signal handler that raises while os._exit delivers changes neither status nor delivery."""
    entered = launcher.folder / "entered"

    def interrupt(_: str, __: bytes) -> tuple[int, int]:
        if not entered.exists():
            os.kill(server.pid, signal.SIGTERM)
            deadline = time.monotonic() + 20
            while not entered.exists() and time.monotonic() < deadline:
                os.sched_yield()
        return 200, 0

    receiver.respond = interrupt
    server = launcher.serve(APPS / "interrupted_end.py", entered, OTEL_DISTRO_EXIT_TIMEOUT="20")
    assert server.wait() == 3
    assert len(receiver.logs("the last line")) == 1
    assert launcher.run(str(BIN / "otel-distro"), "drain", command="bare").returncode == 0
    assert len(receiver.logs("the last line")) == 1
