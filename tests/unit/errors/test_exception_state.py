"""An exception carries its mark itself: once told, told, however it travels, and nothing is kept alive."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from otel_distro.errors import exception_state
from tests.support.raising import error_of


class Slotted(Exception):
    """Has slots, and hides its dictionary."""

    __slots__ = ("code",)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise OSError


class Waiting:
    """Something that waits for the end of an exception."""

    done = False


def fail() -> None:
    raise ValueError


def fail_slotted() -> None:
    raise Slotted


def raise_again(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("work", [fail, fail_slotted])
def test_told_once(work: Any) -> None:
    """Also while it is raised on through other frames, and also with slots."""
    error = error_of(work)
    assert not exception_state.was_told(error)
    assert exception_state.tell(error, final=False)
    assert exception_state.was_told(error)
    assert not exception_state.tell(error_of(raise_again, error), final=True)


def test_raised_anew_after_its_end() -> None:
    """An exception that ended a thread and is raised once more is another failure; the same end seen twice is not."""
    error = error_of(fail)
    assert exception_state.tell(error, final=True)
    assert not exception_state.tell(error, final=True)
    assert exception_state.tell(error_of(raise_again, error), final=True)


def test_without_its_traceback_it_is_new() -> None:
    """Raised anew from the start it is another failure."""
    error = error_of(fail)
    exception_state.tell(error, final=False)
    assert not exception_state.was_told(error.with_traceback(None))


def test_what_led_to_it_is_told_with_it() -> None:
    """Cause, context and members of groups stand in its stack trace."""
    cause, context = error_of(fail), error_of(fail)
    for one in (cause, context):
        exception_state.get(one)
    error = error_of(fail)
    error.__cause__, error.__context__ = cause, context
    # A chain that bites its tail ends all the same.
    context.__context__ = error
    exception_state.tell(error, final=False)
    assert exception_state.was_told(cause)
    assert exception_state.was_told(context)


def test_what_waits_is_called_at_the_end_of_the_exception() -> None:
    """It is called once, and not where the exception was told before."""
    ended: list[object] = []
    error, told = error_of(fail), error_of(fail)
    waiting = [Waiting(), Waiting()]
    exception_state.get(error).wait(waiting[0], ended.append)
    exception_state.get(told).wait(waiting[1], ended.append)
    exception_state.tell(told, final=False)
    del told
    assert ended == []
    assert waiting[1].done
    del error
    assert ended == [waiting[0]]


def test_pickled_it_is_told_here() -> None:
    """What waits is told by this process; the copy is known to be told, and needs nothing of ours to be read."""
    ended: list[object] = []
    error = error_of(fail)
    exception_state.get(error).wait(Waiting(), ended.append)
    data = pickle.dumps(error)
    assert len(ended) == 1
    assert b"otel_distro.errors" not in data
    assert exception_state.was_told(pickle.loads(data))
    assert not exception_state.tell(error_of(raise_again, pickle.loads(data)), final=False)
    del error
    assert len(ended) == 1
