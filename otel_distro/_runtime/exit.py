"""The one registry of callbacks before the end of the process, and its wrappers.

``os._exit`` and ``os.abort`` end the process without any exit function, ``os.execv`` and
``os.execve`` replace the program, and ``signal.raise_signal`` with the default disposition kills
it. Each of them is wrapped as long as an entry wants to run before it, and behaves as before: same
arguments, status and exceptions. The ordinary end of the process (:mod:`atexit`, signals) belongs
to the start-up code, which asks the lifecycle of telemetry to finish; that calls
:func:`run_before_end`.
"""

from __future__ import annotations

import functools
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FATAL_SIGNALS = frozenset(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT") if hasattr(signal, name)
)
_ATTEMPTS = 2


class Order:
    """Position of each entry: producers first, so that telemetry delivers what they still emit."""

    INSTRUMENTOR_LOADING = 0
    OPEN_REQUESTS = 5
    ERROR_TRACKING = 10
    LOG_DEDUPLICATION = 20
    AUDIT_EVENTS = 30
    TELEMETRY = 100


@dataclass(frozen=True)
class _Entry:
    order: int
    before_end: Callable[[], object] | None
    before_exit: Callable[[], object] | None
    before_exec: Callable[[Any, Any], object] | None
    before_signal: Callable[[], object] | None


@dataclass(frozen=True)
class _Wrapped:
    """A function of ``owner`` that stands wrapped: the original, and the wrapper in its place."""

    owner: Any
    original: Any
    wrapper: Any


_entries: dict[str, _Entry] = {}
_wrapped: dict[str, _Wrapped] = {}


def register(
    name: str,
    order: int,
    *,
    before_end: Callable[[], object] | None = None,
    before_exit: Callable[[], object] | None = None,
    before_exec: Callable[[Any, Any], object] | None = None,
    before_signal: Callable[[], object] | None = None,
) -> None:
    """Call these functions before the process ends. An entry of the same name is replaced.

    A callback that raises is reported and does not keep the others from running.

    Args:
        name: Unique name; appears in the report of a failure.
        order: One of :class:`Order`; lower runs first.
        before_end: Runs before the last delivery of telemetry, however the process ends; may run
            again.
        before_exit: Runs before ``os._exit`` and ``os.abort``. An exception that a signal handler
            raises meanwhile (Celery's do) is dropped and the callback called once more: the
            process ends.
        before_exec: Runs before ``os.execv`` and ``os.execve``, with path and arguments of the
            program. The call may fail, and then the process keeps running; an exception of a
            signal handler is raised.
        before_signal: Runs before ``signal.raise_signal`` kills the process (uvicorn ends like
            that).
    """
    _entries[name] = _Entry(order, before_end, before_exit, before_exec, before_signal)
    _update_wrappers()


def unregister(name: str) -> None:
    """Remove an entry, if it is there; functions that no entry needs wrapped are restored."""
    if _entries.pop(name, None) is not None:
        _update_wrappers()


def names() -> list[str]:
    """Return the names of all entries in the order in which they run."""
    return [name for name, _ in _sorted()]


def run_before_end() -> None:
    """Run what producers have registered to run before the last delivery."""
    for name, entry in _sorted():
        if entry.before_end is not None:
            with guard(f"{name} before the end of the process"):
                entry.before_end()


def _sorted() -> list[tuple[str, _Entry]]:
    return sorted(_entries.copy().items(), key=lambda item: item[1].order)


def _run_uninterrupted(callbacks: Iterable[tuple[str, Callable[[], object] | None]]) -> None:
    for name, callback in callbacks:
        for _ in range(_ATTEMPTS if callback is not None else 0):
            with suppress(BaseException), guard(f"{name} before the process exits"):
                callback()  # type: ignore[misc] # not None, or the range is empty
                break


def _exit_wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        _run_uninterrupted((name, entry.before_exit) for name, entry in _sorted())
        return original(*args, **kwargs)

    return wrapper


def _exec_wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        path = args[0] if args else kwargs.get("path")
        argv = args[1] if len(args) > 1 else kwargs.get("argv")
        for name, entry in _sorted():
            if entry.before_exec is not None:
                with guard(f"{name} before another program takes over"):
                    entry.before_exec(path, argv)
        return original(*args, **kwargs)

    return wrapper


def _signal_wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(signalnum: int, /) -> None:
        if signalnum in _FATAL_SIGNALS and signal.getsignal(signalnum) == signal.SIG_DFL:
            _run_uninterrupted((name, entry.before_signal) for name, entry in _sorted())
        original(signalnum)

    return wrapper


_FUNCTIONS: dict[str, tuple[Any, str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "_exit": (os, "before_exit", _exit_wrapper),
    "abort": (os, "before_exit", _exit_wrapper),
    "execv": (os, "before_exec", _exec_wrapper),
    "execve": (os, "before_exec", _exec_wrapper),
    "raise_signal": (signal, "before_signal", _signal_wrapper),
}


def _update_wrappers() -> None:
    for name, (owner, kind, wrap) in _FUNCTIONS.items():
        wanted = any(getattr(entry, kind) is not None for entry in _entries.copy().values())
        found = _wrapped.get(name)
        if wanted and found is None and hasattr(owner, name):
            original = getattr(owner, name)
            new = _Wrapped(owner, original, functools.wraps(original)(wrap(original)))
            # One operation: another thread may be here too.
            if _wrapped.setdefault(name, new) is new:
                setattr(owner, name, new.wrapper)
        elif not wanted and found is not None and getattr(owner, name) is found.wrapper:
            # A wrapper that another tool has wrapped stays, and runs no callbacks.
            setattr(owner, name, found.original)
            del _wrapped[name]
