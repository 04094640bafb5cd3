"""Threads of ours before a fork: they end, whoever forks sees them gone, and nobody waits for what is over."""

from __future__ import annotations

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


def test_all_are_gone() -> None:
    """As many threads fewer as were sent home, when the last of them has ended."""
    before = threads.thread_count()
    workers = [resting() for _ in range(3)]
    assert threads.thread_count() == before + 3
    stop_all(workers)
    assert threads.thread_count() == before


@pytest.mark.parametrize("alive", [0, 1, 3])
def test_nobody_waits_for_what_is_over(monkeypatch: pytest.MonkeyPatch, alive: int) -> None:
    """What is waited for is the number of threads without ours, however soon they have gone."""
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


def test_one_that_is_called_back() -> None:
    """The thread that takes its place works on, and goes home as well."""
    before = threads.thread_count()
    worker = resting()
    for _ in range(3):
        worker.stop_and_join()
        worker.restart()
        assert worker.alive
    worker.stop_and_join()
    assert threads.thread_count() == before
