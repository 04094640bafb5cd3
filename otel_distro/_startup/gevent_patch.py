"""Patches of the standard library by gevent and eventlet: telemetry starts before or after one.

Both look at every object of the process for locks to replace. Looking at a proxy of celery imports
its application in the middle of the patch, and an instrumentor loaded by that import would import
modules (``kombu.utils.eventio``) that keep functions that are not patched yet: the worker hangs.
"""

import sys
import time

from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_LONGEST_PATCH_S = 30.0
_LONGEST_WAIT_S = 10.0
_POOLS = ("gevent", "eventlet")


CHECK_INTERVAL_S = 0.5


class _State:
    __slots__ = ("begin", "created", "waiting")

    def __init__(self) -> None:
        self.begin = 0.0  # When the patch in progress began; 0 outside of one.
        self.created = time.monotonic()
        self.waiting: list[Callable[[], object]] = []


_state = _State()


def apply() -> None:
    """Let gevent patch the standard library, as upstream's variable asks for.

    The check of the environment leaves only the value ``patch_all``, the one that upstream knows.
    """
    try:
        from gevent import monkey
    except ImportError:
        say(
            "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH is set but gevent is not installed: "
            "nothing is patched; install gevent or unset the variable",
            code="OD101",
        )
        return
    monkey.patch_all()


def follow(before: "Callable[[], object]") -> None:
    """Follow patches of gevent, by its events, and of eventlet, by a wrapper: it has no events.

    Args:
        before: Called before a patch begins, in its thread.
    """

    def begin() -> None:
        with guard("the beginning of a patch"):
            before()
            _state.begin = time.monotonic()

    def on_event(event: "Any") -> None:
        kind = type(event).__name__
        if kind == "GeventWillPatchAllEvent":
            begin()
        elif kind == "GeventDidPatchAllEvent":
            _end()

    def wrap(patcher: "Any") -> None:
        original: Callable[..., Any] = patcher.monkey_patch

        def monkey_patch(**on: "Any") -> "Any":
            begin()
            try:
                return original(**on)
            finally:
                _end()

        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(monkey_patch, name, getattr(original, name))
        monkey_patch.__wrapped__ = original  # type: ignore[attr-defined]
        patcher.monkey_patch = monkey_patch

    import_hooks.when_imported("gevent.events", lambda events: events.subscribers.append(on_event))
    import_hooks.when_imported("eventlet.patcher", wrap)


def _end() -> None:
    _state.begin = 0.0
    with guard("what waits for the end of a patch"):
        while _state.waiting:
            _state.waiting.pop(0)()


def in_progress() -> bool:
    """Return whether a patch is in progress; one that another subscriber forbids has no end."""
    return bool(_state.begin) and time.monotonic() - _state.begin < _LONGEST_PATCH_S


def outside(work: "Callable[[], object]") -> None:
    """Do ``work`` now, or after the patch in progress, in the thread of the patch."""
    if in_progress():
        _state.waiting.append(work)
    else:
        work()


def is_expected() -> bool:
    """Return whether a patch is in progress or likely to come: the activation's timer waits then.

    That is where the command line names a pool of gevent or eventlet, and where one of them is
    imported. After ten seconds the process is one that does not patch.
    """
    if in_progress():
        return True
    if _is_patched() or time.monotonic() - _state.created > _LONGEST_WAIT_S:
        return False
    return "gevent.monkey" in sys.modules or "eventlet" in sys.modules or _names_pool(sys.orig_argv)


def _is_patched() -> bool:
    gevent: Any = sys.modules.get("gevent.monkey")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    return bool(getattr(gevent, "saved", None) or getattr(eventlet, "already_patched", None))


def _names_pool(words: "Sequence[str]") -> bool:
    """Return whether ``-P`` or ``--pool`` of celery names gevent or eventlet."""
    for number, word in enumerate(words):
        option, _, value = word.partition("=")
        if word in ("-P", "--pool") and number + 1 < len(words):
            value = words[number + 1]
        elif option != "--pool":
            value = word[2:] if word.startswith("-P") else ""
        if value in _POOLS:
            return True
    return False
