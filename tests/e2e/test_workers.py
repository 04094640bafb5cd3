"""Workers of task queues report every task once, however their process ends."""

from __future__ import annotations

import shutil
import sys
from collections import Counter

import pytest

from tests.support.processes import BIN, free_port
from tests.support.programs import APPS, RUN, Launcher
from tests.support.receiver import Receiver, instance

TASKS = 7


def test_celery_prefork_children_report_every_task_once(launcher: Launcher, receiver: Receiver) -> None:
    """Children that are recycled after three tasks or shut down deliver all telemetry."""
    shutil.copy(APPS / "celery_tasks.py", launcher.folder)
    broker = str(launcher.folder / "broker")
    queued = launcher.run("celery_tasks.py", str(TASKS), command="bare", BROKER=broker)
    assert (queued.returncode, queued.stderr) == (0, "")
    server = launcher.serve(
        *(str(BIN / "celery"), "-A", "celery_tasks", "worker", "-l", "INFO"),
        *("--concurrency", "2", "--max-tasks-per-child", "3", "--without-gossip", "--without-mingle"),
        BROKER=broker,
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    )
    server.wait_for_log(r"succeeded in", times=TASKS)
    assert server.stop() == 0
    receiver.wait_for(lambda r: r.total("shop.orders") == TASKS)

    orders = [log for log in receiver.logs() if str(log.body).startswith("order ")]
    assert Counter(log.body for log in orders) == Counter(f"order {number}" for number in range(TASKS))
    assert bodies_starting_with(receiver, "task line ") == [f"task line {number}" for number in range(TASKS)]
    assert len([span for span in receiver.spans() if span.scope == "opentelemetry.instrumentation.sqlite3"]) == TASKS
    done = Counter(instance(log) for log in orders)
    assert len(done) == len({log.resource["process.pid"] for log in orders}) > 1
    assert done == {instance(point): point.value for point in receiver.series("shop.orders")}


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_celery_pool_of_greenlets_has_patched_functions_and_reports_its_tasks(
    pool: str, launcher: Launcher, receiver: Receiver
) -> None:
    """The command patches the standard library before anything imports what it is to patch."""
    for app in ("celery_select", "celery_tasks"):
        shutil.copy(APPS / f"{app}.py", launcher.folder)
    worker = (str(BIN / "celery"), "worker", "--pool", pool, "--without-gossip", "--without-mingle")
    server = launcher.serve(worker[0], "-A", "celery_select", *worker[1:], command=RUN)
    server.wait_for_log(r"select is \w+\.(green\.)?select\.select", timeout=60)
    assert f"select is {pool}." in server.log
    server.kill()

    broker = str(launcher.folder / "broker")
    assert launcher.run("celery_tasks.py", str(TASKS), command="bare", BROKER=broker).returncode == 0
    server = launcher.serve(worker[0], "-A", "celery_tasks", *worker[1:], "-l", "INFO", command=RUN, BROKER=broker)
    server.wait_for_log(r"succeeded in", times=TASKS, timeout=60)
    assert server.stop() == 0
    receiver.wait_for(lambda r: len(r.spans("run/order")) == TASKS)
    tasks = {span.span_id for span in receiver.spans("run/order")}
    assert {span.parent_id for span in receiver.spans("SELECT")} == tasks


def test_uvicorn_workers_on_a_slow_machine_are_not_killed_while_telemetry_starts(launcher: Launcher) -> None:
    """A worker whose first sign of life comes late serves, like one without telemetry."""
    for app in ("slow_workers", "fastapi_shop"):
        shutil.copy(APPS / f"{app}.py", launcher.folder)
    server = launcher.serve(sys.executable, "slow_workers.py", str(free_port()), command=RUN)
    server.wait_for_log("Application startup complete", times=2, timeout=120)
    assert "died" not in server.log
    server.stop()


def bodies_starting_with(receiver: Receiver, beginning: str) -> list[str]:
    """Return the sorted bodies of the log records that start with ``beginning``."""
    return sorted(str(log.body) for log in receiver.logs() if str(log.body).startswith(beginning))
