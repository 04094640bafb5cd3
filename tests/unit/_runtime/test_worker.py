"""Background threads before a fork: they end, and nothing waits for ended ones."""

from __future__ import annotations

import time

import pytest

from otel_distro._runtime import threads
from otel_distro._runtime.worker import Worker, stop_all


def resting() -> Worker:
    """Return a worker whose thread has done its work once and rests."""
    done = threads.allocate_lock()
    done.acquire()

    def work() -> float:
        if done.locked():
            done.release()
        return 3600.0

    worker = Worker("a test", work)
    assert worker.start()
    worker.notify()
    assert done.acquire(True, 20)
    return worker


def test_stop_all_with_idle_workers_ends_all_threads() -> None:
    """Afterwards the process has as many threads as before."""
    before = settled_thread_count()
    workers = [resting() for _ in range(3)]
    assert threads.thread_count() == before + 3
    stop_all(workers)
    assert threads.thread_count() == before


def settled_thread_count() -> int:
    """Return the number of threads once none of an earlier test is ending any more."""
    count = -1
    while count != threads.thread_count():
        count = threads.thread_count()
        time.sleep(0.2)
    return count


@pytest.mark.parametrize("alive", [0, 1, 3])
def test_stop_all_with_ended_threads_does_not_wait_for_them(monkeypatch: pytest.MonkeyPatch, alive: int) -> None:
    """The number awaited is that without the workers, however soon they have ended."""
    awaited: list[int] = []
    real = threads.await_fewer_threads

    def gone_already(than: int) -> None:
        real(than, 20)
        awaited.append(than)

    monkeypatch.setattr(threads, "await_fewer_threads", gone_already)
    before = threads.thread_count()
    workers = [resting() for _ in range(alive)] + [Worker("not started", lambda: 3600.0)]
    stop_all(workers)
    assert awaited == ([before + 1] if alive else [])


def test_worker_restarted_after_a_stop_works_and_stops_again() -> None:
    """The thread that replaces it works, and ends as well."""
    before = threads.thread_count()
    worker = resting()
    for _ in range(3):
        worker.stop_and_join()
        worker.restart()
        assert worker.alive
    worker.stop_and_join()
    assert threads.thread_count() == before
