"""Pauses for the threads of the application, and the short switch interval."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from otel_distro._runtime import gil


@pytest.mark.parametrize(("before", "within"), [(0.005, 0.0005), (0.0001, 0.0001)])
def test_switch_interval_inside_the_context_is_short_and_then_restored(before: float, within: float) -> None:
    """Inside it is half a millisecond, or the program's own if that is shorter."""
    own = sys.getswitchinterval()
    sys.setswitchinterval(before)
    try:
        with pytest.raises(KeyError), gil.short_switch_interval():
            assert sys.getswitchinterval() == pytest.approx(within, abs=2e-6)
            raise KeyError
        assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
    finally:
        sys.setswitchinterval(own)


class Clock:
    """A clock that advances only by naps, each by the next value of ``took`` in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *took: float) -> None:
        self.now = 100.0
        self.naps = 0
        self._took = list(took)
        monkeypatch.setattr(gil, "nap", self._nap)
        monkeypatch.setattr(gil, "time", SimpleNamespace(monotonic=lambda: self.now))

    def _nap(self, _: float) -> None:
        self.naps += 1
        self.now += self._took.pop(0)


def test_gil_yield_after_each_piece_of_work_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before a piece of work is done, unless it is due; one pause after each piece."""
    clock = Clock(monkeypatch, *[0.0005] * 3)
    pauses = gil.GilYield()
    pauses.pause()
    assert clock.naps == 0
    pauses.pause(due=True)
    pauses.pause()
    assert clock.naps == 1
    for expected in (2, 3):
        clock.now += 0.001
        pauses.pause()
        pauses.pause()
        assert clock.naps == expected


def test_gil_yield_after_a_long_pause_pauses_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses repeat while other threads return the lock soon; none follows a long pause."""
    clock = Clock(monkeypatch, 0.0006, 0.005)
    pauses = gil.GilYield()
    for _ in range(4):
        clock.now += 1.0
        pauses.pause()
        pauses.pause(due=True)
    assert clock.naps == 2


def test_gil_yield_disabled_or_suspended_does_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses where they are disabled, nor inside ``short_switch_interval``."""
    clock = Clock(monkeypatch, 0.0005)
    pauses, disabled = gil.GilYield(), gil.GilYield(enabled=False)
    clock.now += 1.0
    disabled.pause(due=True)
    with gil.short_switch_interval():
        pauses.pause()
    assert clock.naps == 0
    pauses.pause()
    assert clock.naps == 1
