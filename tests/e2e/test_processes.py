"""Work in child processes: every piece once, whoever did it and however the child ended, and exit statuses as ever."""

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
def test_every_piece_of_work_is_told_once(
    command: Command, kind: str, method: str, launcher: Launcher, receiver: Receiver
) -> None:
    """Log records, spans and counters of children add up to the work; children are instances of their own."""
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
    # What the parent had counted before it forked is counted once, by the parent.
    counts = {names[pid]: count for pid, count in done.items()}
    assert counts == {instance(p): p.value for p in receiver.series("db.client.operation.duration")}
    # A process of multiprocessing itself may live long enough to say that it created none.
    assert counts == {instance(p): p.value for p in receiver.series("otel.sdk.log.created") if p.value}


def test_a_chosen_instance_stays_recognisable_in_children(launcher: Launcher, receiver: Receiver) -> None:
    """A service.instance.id of the user holds for the process, and begins the ids of the children it forks."""
    launcher.run("workers.py", "fork", "-", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=pod-7,team=web")
    (parent,) = {instance(log) for log in receiver.logs("piece 100")}
    children = {instance(log) for log in receiver.logs() if log.body not in ("piece 100", "piece 101")}
    assert parent == "pod-7"
    assert len(children) == 2
    assert all(child.startswith("pod-7-") for child in children)
    assert {"web"} == {log.resource["team"] for log in receiver.logs()}


def test_last_delivery_that_a_signal_interrupts(launcher: Launcher, receiver: Receiver) -> None:
    """A handler that raises while os._exit delivers neither keeps the process from its status nor makes it leave too soon."""
    come = launcher.folder / "come"

    def interrupt(_: str, __: bytes) -> tuple[int, int]:
        if not come.exists():
            os.kill(server.pid, signal.SIGTERM)
            deadline = time.monotonic() + 20
            while not come.exists() and time.monotonic() < deadline:
                os.sched_yield()
        return 200, 0

    receiver.respond = interrupt
    server = launcher.serve(APPS / "interrupted_end.py", come, OTEL_DISTRO_EXIT_TIMEOUT="20")
    assert server.wait() == 3
    assert len(receiver.logs("the last line")) == 1
    assert launcher.run(str(BIN / "otel-distro"), "drain", command="bare").returncode == 0
    assert len(receiver.logs("the last line")) == 1
