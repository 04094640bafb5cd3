"""The state on an exception: reported once, wherever it propagates, and nothing is kept alive."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from otel_distro.errors import exception_state
from tests.support.raising import error_of


class Slotted(Exception):
    """Has slots, and hides its ``__dict__``."""

    __slots__ = ("code",)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise OSError


class Pending:
    """A report that waits for the end of an exception."""

    done = False


def fail() -> None:
    raise ValueError


def fail_slotted() -> None:
    raise Slotted


def raise_again(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("work", [fail, fail_slotted])
def test_exception_is_claimed_once(work: Any) -> None:
    """Also after it propagates through other frames, and for a class with slots."""
    error = error_of(work)
    assert not exception_state.was_reported(error)
    assert exception_state.claim(error, final=False)
    assert exception_state.was_reported(error)
    assert not exception_state.claim(error_of(raise_again, error), final=True)


def test_exception_reraised_after_final_hook_is_claimed_again() -> None:
    """Re-raised after it ended a thread it is another failure; seen twice unchanged it is not."""
    error = error_of(fail)
    assert exception_state.claim(error, final=True)
    assert not exception_state.claim(error, final=True)
    assert exception_state.claim(error_of(raise_again, error), final=True)


def test_exception_without_traceback_is_not_reported() -> None:
    """With its traceback removed it counts as another failure."""
    error = error_of(fail)
    exception_state.claim(error, final=False)
    assert not exception_state.was_reported(error.with_traceback(None))


def test_linked_exceptions_are_reported_with_it() -> None:
    """Cause and context are marked too: its stack trace shows them."""
    cause, context = error_of(fail), error_of(fail)
    for each in (cause, context):
        exception_state.get_or_create(each)
    error = error_of(fail)
    error.__cause__, error.__context__ = cause, context
    # A circular chain must not loop for ever.
    context.__context__ = error
    exception_state.claim(error, final=False)
    assert exception_state.was_reported(cause)
    assert exception_state.was_reported(context)


def test_pending_report_runs_when_exception_is_freed() -> None:
    """It runs once, and not if the exception was reported before."""
    ended: list[object] = []
    error, reported = error_of(fail), error_of(fail)
    pending = [Pending(), Pending()]
    exception_state.get_or_create(error).defer(pending[0], ended.append)
    exception_state.get_or_create(reported).defer(pending[1], ended.append)
    exception_state.claim(reported, final=False)
    del reported
    assert ended == []
    assert pending[1].done
    del error
    assert ended == [pending[0]]


def test_pickled_exception_is_reported_by_this_process() -> None:
    """The pending report runs here; the copy counts as reported and needs none of our classes."""
    ended: list[object] = []
    error = error_of(fail)
    exception_state.get_or_create(error).defer(Pending(), ended.append)
    data = pickle.dumps(error)
    assert len(ended) == 1
    assert b"otel_distro.errors" not in data
    assert exception_state.was_reported(pickle.loads(data))
    assert not exception_state.claim(error_of(raise_again, pickle.loads(data)), final=False)
    del error
    assert len(ended) == 1


def span_context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace, span, is_remote=False)


def test_remembered_span_is_found_for_exceptions_that_carry_the_exception() -> None:
    """Also as the cause of another one, and after it propagated through further frames."""
    error = error_of(fail)
    exception_state.remember_span(error, span_context(1, 2))
    assert exception_state.span_of(error_of(raise_again, error)) == span_context(1, 2)
    outer = RuntimeError()
    outer.__cause__ = error
    assert exception_state.span_of(outer) == span_context(1, 2)


def test_remembered_span_of_the_same_trace_keeps_the_inner_one() -> None:
    """The innermost span of a trace stays; the request of another trace replaces it."""
    error = error_of(fail)
    exception_state.remember_span(error, span_context(1, 3))
    exception_state.remember_span(error, span_context(1, 2))
    assert exception_state.span_of(error) == span_context(1, 3)
    exception_state.remember_span(error, span_context(4, 5))
    assert exception_state.span_of(error) == span_context(4, 5)


def test_remembered_span_without_ids_is_ignored() -> None:
    """A request without telemetry leaves no span."""
    error = error_of(fail)
    exception_state.remember_span(error, INVALID_SPAN_CONTEXT)
    assert exception_state.span_of(error) is None
