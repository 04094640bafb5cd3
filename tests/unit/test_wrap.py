"""Every call of a wrapped function has a context of its own, sync or async, and the function stays what it is."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._wrap import around

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Log:
    """Notes entries and exits, with a number for each context."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self._entered = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Note an entry, and at the end whether the body failed."""
        self._entered += 1
        number = self._entered
        self.events.append(("in", number))
        try:
            yield
        except BaseException:
            self.events.append(("failed", number))
            raise
        self.events.append(("out", number))


def test_function_stays_what_it_is() -> None:
    """Name, documentation, signature, arguments and result are those of the function."""

    def price(item: str, *, count: int = 1) -> str:
        """Say what it costs."""
        return f"{item}*{count}"

    wrapped = around(Log().enter, price)
    assert wrapped("tea", count=2) == "tea*2"
    assert (wrapped.__name__, wrapped.__doc__) == ("price", "Say what it costs.")
    assert inspect.signature(wrapped) == inspect.signature(price)


def test_error_passes_unchanged() -> None:
    """The error of the function is the very object it raised, and the context sees it."""
    log, error = Log(), ValueError("bad")

    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="bad") as caught:
        around(log.enter, fail)()
    assert caught.value is error
    assert log.events == [("in", 1), ("failed", 1)]


def test_overlapping_threads() -> None:
    """Two calls at the same time have a context each, and each leaves its own."""
    log, both = Log(), threading.Barrier(2)
    wrapped = around(log.enter, lambda: both.wait(10))
    threads = [threading.Thread(target=wrapped) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log.events) == [("in", 1), ("in", 2), ("out", 1), ("out", 2)]


def test_recursion() -> None:
    """A function that calls itself has a context for each depth."""
    log = Log()

    def count(depth: int) -> int:
        return depth and 1 + wrapped(depth - 1)

    wrapped = around(log.enter, count)
    assert wrapped(2) == 2
    assert log.events == [("in", 1), ("in", 2), ("in", 3), ("out", 3), ("out", 2), ("out", 1)]


def test_coroutines() -> None:
    """A coroutine function stays one; the context spans what it awaits, and overlapping calls have one each."""
    log = Log()

    async def work(gate: asyncio.Event) -> str:
        await gate.wait()
        log.events.append(("work", 0))
        return "done"

    wrapped = around(log.enter, work)
    assert inspect.iscoroutinefunction(wrapped)

    async def main() -> list[str]:
        gate = asyncio.Event()
        tasks = [asyncio.ensure_future(wrapped(gate)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == ["done", "done"]
    assert log.events[:2] == [("in", 1), ("in", 2)]
    assert log.events[2:] == [("work", 0), ("out", 1), ("work", 0), ("out", 2)]


def test_coroutine_that_fails_or_is_cancelled() -> None:
    """Error and cancellation reach the context and the caller."""
    log = Log()

    async def fail() -> None:
        raise ValueError("bad")

    async def wait() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(ValueError, match="bad"):
            await around(log.enter, fail)()
        task = asyncio.ensure_future(around(log.enter, wait)())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log.events == [("in", 1), ("failed", 1), ("in", 2), ("failed", 2)]


def test_generators_are_refused() -> None:
    """A generator is refused where it is decorated: its body runs after the call has returned."""

    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        made: Any = function
        with pytest.raises(TypeError, match="is a generator"):
            around(Log().enter, made)
