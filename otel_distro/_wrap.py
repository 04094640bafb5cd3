"""One wrapper for every decorator: a fresh context manager around each call, sync or async."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

P = ParamSpec("P")
R = TypeVar("R")


def around(enter: Callable[[], AbstractContextManager[object]], fn: Callable[P, R]) -> Callable[P, R]:
    """Return ``fn`` so that every call runs inside a context manager of its own, made by ``enter()``.

    Coroutine functions stay coroutine functions and the context spans the whole awaited body. Raises ``TypeError``
    for generators, whose body runs after the call returned: use the with-form inside them.
    """
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"{fn.__qualname__} is a generator: use the with-form inside it")
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with enter():
                return await cast("Callable[P, Awaitable[Any]]", fn)(*args, **kwargs)

        return cast("Callable[P, R]", call_async)

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with enter():
            return fn(*args, **kwargs)

    return call
