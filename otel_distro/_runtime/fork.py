"""The one registry of callbacks around a fork.

Entries are named and ordered: :class:`Order` is the whole list. Every other module registers here
and nowhere else, and every function that resets state in a forked child is called
``reset_after_fork``.

Imported at the start of every instrumented process, so it imports only :mod:`os` and diagnostics.
"""

import os

from otel_distro._runtime.diagnostics import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Callback = Callable[[], object]
    Entry = tuple[int, "Callback | None", "Callback | None", "Callback | None"]


class Order:
    """Position of each entry.

    Callbacks after a fork run in this order, callbacks before it in reverse.

    The hundreds are stages. Each stage registers with the interpreter once, with its first entry,
    so callbacks of other libraries run between the stages. Those of the SDK, which replace locks
    and the resource, run before :data:`TELEMETRY` in a child. Those of :mod:`logging`, which hold
    its lock during the fork, run after the worker threads of telemetry have stopped.
    """

    # Stage 0: from the start of the process. Nothing here needs OpenTelemetry.
    AUDIT_HOOK = 10
    SIGNALS = 20
    ACTIVATION_TIMER = 30
    AUDIT_FILE = 40
    # Stage 1: once the SDK is built.
    TELEMETRY = 100
    EXPORT_STATE = 110
    UWSGI = 120
    # Stage 2: instrumentors and other producers. Their threads stop before those of telemetry.
    ERROR_TRACKING = 200
    LOG_RECORDS = 210
    LOG_DEDUPLICATION = 220
    AUDIT_EVENTS = 230
    DEFERRED_ERRORS = 240
    LOG_FILE_ROTATION = 250
    SIGNAL_WATCHER = 260
    ACTIVE_REQUESTS = 270


_STAGE_SIZE = 100
_BEFORE, _AFTER_IN_PARENT, _AFTER_IN_CHILD = 1, 2, 3
_WHEN = ("", "before a fork", "after a fork, in the parent", "after a fork, in the child")

# Changed by single operations of dict, which no other thread can interrupt: a lock could be held
# during a fork, and its copy in the child would stay locked.
_entries: "dict[str, Entry]" = {}
_stages: "dict[int, object]" = {}
_intercepted: "list[Callback]" = []


def register(
    name: str,
    order: int,
    *,
    before: "Callback | None" = None,
    after_in_parent: "Callback | None" = None,
    after_in_child: "Callback | None" = None,
) -> None:
    """Call these functions at every fork from now on. An entry of the same name is replaced.

    A callback that raises is reported and does not keep the others from running.

    Args:
        name: Unique name; appears in the report of a failure.
        order: One of :class:`Order`.
        before: Runs in the parent, before the fork.
        after_in_parent: Runs in the parent, after the fork.
        after_in_child: Runs in the child.
    """
    _entries[name] = (order, before, after_in_parent, after_in_child)
    stage = order // _STAGE_SIZE
    first = object()
    if _stages.setdefault(stage, first) is first and hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lambda: _run(stage, _BEFORE),
            after_in_parent=lambda: _run(stage, _AFTER_IN_PARENT),
            after_in_child=lambda: _run(stage, _AFTER_IN_CHILD),
        )


def unregister(name: str) -> None:
    """Remove an entry, if it is there."""
    _entries.pop(name, None)


def names() -> "list[str]":
    """Return the names of all entries in the order in which they run after a fork."""
    return [name for name, _ in sorted(_entries.copy().items(), key=lambda item: item[1][0])]


def reset_after_fork() -> None:
    """Run the callbacks of all stages for the child, for a fork that bypassed the interpreter.

    The intercepted callbacks of other libraries run where the interpreter would run them: after
    stage 0.
    """
    _run(0, _AFTER_IN_CHILD)
    for callback in _intercepted:
        with guard("the reset of the SDK after a fork"):
            callback()
    for stage in sorted(_stages):
        if stage:
            _run(stage, _AFTER_IN_CHILD)


def hold(wait: "Callable[[], object]") -> "Callable[[], None]":
    """Call ``wait()`` before each fork from now on, outside of the callbacks.

    Those run too late to wait for another thread: callbacks of :mod:`logging`, for one, hold its
    lock.

    Returns:
        Ends that.
    """
    replaced = []
    for name in ("fork", "forkpty"):
        original: Any = getattr(os, name, None)
        if original is not None:
            replacement = _after(wait, original)
            setattr(os, name, replacement)
            replaced.append((name, original, replacement))

    def end() -> None:
        for name, original, replacement in replaced:
            if getattr(os, name) is replacement:
                setattr(os, name, original)

    return end


def _after(wait: "Callable[[], object]", original: "Callable[[], Any]") -> "Callable[[], Any]":
    def wait_and_fork() -> "Any":
        wait()
        return original()

    return wait_and_fork


def intercept(package: str) -> None:
    """Record the child callbacks that a package registers with the interpreter from now on.

    The interpreter cannot be asked for them. Where forks bypass it, :func:`reset_after_fork` runs
    them.
    """
    original: Any = getattr(os, "register_at_fork", None)
    if original is None or hasattr(original, "__wrapped__"):
        return

    def register_at_fork(**callbacks: "Any") -> None:
        in_child: Any = callbacks.get("after_in_child")
        if str(getattr(in_child, "__module__", "")).startswith(f"{package}."):
            _intercepted.append(in_child)
        original(**callbacks)

    register_at_fork.__doc__ = original.__doc__
    register_at_fork.__wrapped__ = original  # type: ignore[attr-defined]
    os.register_at_fork = register_at_fork


def _run(stage: int, when: int) -> None:
    entries = [(name, entry) for name, entry in _entries.copy().items() if entry[0] // _STAGE_SIZE == stage]
    entries.sort(key=lambda item: item[1][0], reverse=when == _BEFORE)
    interrupt: BaseException | None = None
    for name, entry in entries:
        callback: Any = entry[when]
        if callback is not None:
            try:
                with guard(f"{name} {_WHEN[when]}"):
                    callback()
            except BaseException as error:
                # The handler of a signal raised it: the other callbacks must run all the same.
                interrupt = error
    if interrupt is not None:
        raise interrupt
