"""Native threads and timers."""

from __future__ import annotations

import pytest

from otel_distro._runtime import threads


def run_to_its_end(timer: threads.Timer, delay: float) -> bool:
    """Do in this thread what the timer's own does, and return whether that was its work."""
    done: list[bool] = []
    timer._wait(timer._lock, delay, lambda: done.append(True))
    return bool(done)


@pytest.mark.parametrize(
    ("how", "delay", "works"), [("stop", 60.0, False), ("hurry", 60.0, True), ("run out", 0.01, True)]
)
def test_stop_of_an_ended_timer_returns_at_once(how: str, delay: float, works: bool) -> None:
    """Stopped, hurried or run out, a later fork or exit does not wait for its thread."""
    timer = threads.Timer()
    assert not timer.stop()
    timer._lock.acquire()
    if how != "run out":
        assert getattr(timer, how)() in (True, None)
    assert run_to_its_end(timer, delay) is works
    assert not timer._lock.locked()
    assert not timer.stop()


def test_timer_runs_in_a_thread_and_end_waits_for_it() -> None:
    """The work is done in a thread of its own, whose end is awaited; also the second time."""
    timer = threads.Timer()
    for _ in range(2):
        done = threads.allocate_lock()
        done.acquire()
        timer.start(0.0, done.release)
        assert done.acquire(True, 20)
        running = threads.thread_count()
        timer.start(60.0, done.release)
        timer.end(20)
        assert threads.thread_count() <= running
        assert done.locked()


def test_timer_without_threads_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can start nothing is done, and nothing waits for it."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start_new_thread", refuse)
    timer = threads.Timer()
    timer.start(0.0, pytest.fail)
    assert not timer.stop()
