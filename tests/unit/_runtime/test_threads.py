"""What is taken from the interpreter itself."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from otel_distro._runtime import threads


@pytest.mark.parametrize(("before", "within"), [(0.005, 0.0005), (0.0001, 0.0001)])
def test_turns_are_quick_for_a_while(before: float, within: float) -> None:
    """A thread that computes gives way sooner, unless the program wants it sooner still; then it is as it was."""
    own = sys.getswitchinterval()
    sys.setswitchinterval(before)
    try:
        with pytest.raises(KeyError), threads.short_switch_interval():
            assert sys.getswitchinterval() == pytest.approx(within, abs=2e-6)
            raise KeyError
        assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
    finally:
        sys.setswitchinterval(own)


class Clock:
    """A time that stands still but for naps, of which each takes as long as ``took`` says, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *took: float) -> None:
        self.now = 100.0
        self.naps = 0
        self._took = list(took)
        monkeypatch.setattr(threads, "nap", self._nap)
        monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: self.now))

    def _nap(self, _: float) -> None:
        self.naps += 1
        self.now += self._took.pop(0)


def test_pauses_come_after_pieces_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """None before a piece of work is done, but for one that is due, and one after each."""
    clock = Clock(monkeypatch, *[0.0005] * 3)
    pauses = threads.GilYield()
    pauses.take()
    assert clock.naps == 0
    pauses.take(due=True)
    pauses.take()
    assert clock.naps == 1
    for expected in (2, 3):
        clock.now += 0.001
        pauses.take()
        pauses.take()
        assert clock.naps == expected


def test_pauses_end_when_somebody_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as others give the interpreter back soon there are pauses, and none after one that was long."""
    clock = Clock(monkeypatch, 0.0006, 0.005)
    pauses = threads.GilYield()
    for _ in range(4):
        clock.now += 1.0
        pauses.take()
        pauses.take(due=True)
    assert clock.naps == 2


def test_pauses_that_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none where they are not wanted, nor while the program ends; then there are some again."""
    clock = Clock(monkeypatch, 0.0005)
    pauses, unwanted = threads.GilYield(), threads.GilYield(wanted=False)
    clock.now += 1.0
    unwanted.take(due=True)
    with threads.short_switch_interval():
        pauses.take()
    assert clock.naps == 0
    pauses.take()
    assert clock.naps == 1


def run_to_its_end(timer: threads.Timer, delay: float) -> bool:
    """Do in this thread what the timer's own does, and return whether that was its work."""
    done: list[bool] = []
    timer._wait(timer._lock, delay, lambda: done.append(True))
    return bool(done)


@pytest.mark.parametrize(
    ("how", "delay", "works"), [("stop", 60.0, False), ("hurry", 60.0, True), ("run out", 0.01, True)]
)
def test_timer_at_its_end_is_not_waited_for(how: str, delay: float, works: bool) -> None:
    """Told to end, hurried or run out, the timer is over: a later fork or exit does not look for its thread."""
    timer = threads.Timer()
    assert not timer.stop()
    timer._lock.acquire()
    if how != "run out":
        assert getattr(timer, how)() in (True, None)
    assert run_to_its_end(timer, delay) is works
    assert not timer._lock.locked()
    assert not timer.stop()


def test_timer_in_its_thread() -> None:
    """The work is done in a thread of its own, and its end is awaited; twice the same, one after the other."""
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


def test_timer_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be had nothing is done, and nobody waits for it."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start_new_thread", refuse)
    timer = threads.Timer()
    timer.start(0.0, pytest.fail)
    assert not timer.stop()
