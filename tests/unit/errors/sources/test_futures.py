"""Futures: an exception that is never retrieved is reported, all others behave as without us."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from werkzeug.exceptions import NotFound

from tests.support.failing import RefusedError, logs

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


def test_future_freed_unread_is_reported(telemetry: Telemetry, instrumented: object) -> None:
    """It is reported when it is freed, with its thread; futures read in any way are not."""

    def fail() -> None:
        raise RefusedError("in a pool")

    received: list[object] = []
    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
        pool.submit(fail)
        read = [pool.submit(fail) for _ in range(4)]
        fine = pool.submit(int)
        with pytest.raises(RefusedError):
            read[0].result()
        assert isinstance(read[1].exception(), RefusedError)
        read[2].add_done_callback(lambda future: received.append(future.exception()))

        async def main() -> None:
            with pytest.raises(RefusedError):
                await asyncio.wrap_future(read[3])

        asyncio.run(main())
        assert repr(read[0]).startswith("<Future at 0x")
        assert isinstance(read[0], Future)
        assert type(fine) is Future
        assert fine.result() == 0
    read.clear()
    received.clear()
    gc.collect()
    (record,) = logs(telemetry)
    assert (record.attributes["python.exception.handler"], record.attributes["python.exception.handled"]) == (
        "executor",
        False,
    )
    assert record.attributes["thread.name"] == "pool_0"


def test_future_set_twice_raises_invalid_state(telemetry: Telemetry, instrumented: object) -> None:
    """The second call raises what Python raises, and the future keeps its result."""
    future: Future[int] = Future()
    future.set_result(3)
    with pytest.raises(InvalidStateError):
        future.set_exception(RefusedError("late"))
    assert future.result() == 3
    del future
    assert logs(telemetry, 0) == []


@pytest.mark.parametrize(
    "error", [NotFound(), CancelledError(), StopIteration()], ids=lambda error: type(error).__name__
)
def test_future_failed_with_an_answer_is_not_reported(
    telemetry: Telemetry, instrumented: object, error: Exception
) -> None:
    """A server leaves the future of a cancelled request unread."""
    future: Future[int] = Future()
    future.set_exception(error)
    assert type(future) is Future
    del future
    gc.collect()
    assert list(logs(telemetry, 0)) == []
