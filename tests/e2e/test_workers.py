"""Workers of task queues report every task once, however their process ends."""

from __future__ import annotations

import shutil
from collections import Counter

from tests.support.processes import BIN
from tests.support.programs import APPS, Launcher
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


def bodies_starting_with(receiver: Receiver, beginning: str) -> list[str]:
    """Return the sorted bodies of the log records that start with ``beginning``."""
    return sorted(str(log.body) for log in receiver.logs() if str(log.body).startswith(beginning))
