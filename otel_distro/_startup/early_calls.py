"""Calls of other threads while one thread starts telemetry.

Log records and uncaught exceptions are kept, with their time, thread and context, and recorded once
telemetry has started: the thread that makes them does not wait. A call that cannot be kept, such as
the first one of an API, waits in :func:`otel_distro._boot.activate`.

Imported when telemetry starts.
"""

import os
import sys
import time
from _contextvars import copy_context
from collections import deque
from contextlib import suppress

from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import import_hooks, threads
from otel_distro._runtime.diagnostics import guard, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Start(Protocol):
        """``lock``: held by the thread that starts telemetry; ``activating``: its identity."""

        lock: threads.LockType
        activating: int


_MAX_CALLS = 2000
_IMPORT_CHECK_S = 0.05
_NAME = "the start of telemetry"
_KEEPING = "keeping what came while telemetry started"


class Call:
    """A call to record later.

    ``kind``: ``record`` (of logging), ``loguru`` or ``exception``. ``time``: nanoseconds since
    1970. ``thread``: identity and name of the thread that made it.
    """

    __slots__ = ("arguments", "context", "kind", "thread", "time")

    def __init__(self, kind: str, arguments: "tuple[Any, ...]") -> None:
        self.kind = kind
        self.arguments = arguments
        self.time = time.time_ns()
        self.context = copy_context()
        threading: Any = sys.modules.get("threading")
        name = threading.current_thread().name if hasattr(threading, "current_thread") else "MainThread"
        self.thread = (_thread_id(), name)


class _State:
    __slots__ = ("dropped", "off", "record", "replaced", "starter")

    def __init__(self) -> None:
        self.starter = 0  # Identity of the thread that starts telemetry; 0 for none.
        self.off = False  # There will be no telemetry in this process.
        self.dropped = 0  # Calls beyond the limit.
        self.record: Callable[[Call], None] | None = None  # Records a call; set once telemetry has started.
        # The class Logger, its callHandlers before the start, and the replacement.
        self.replaced: list[tuple[Any, Any, Any]] = []


_state = _State()
_calls: "deque[Call]" = deque()


def begin(end_process: "Callable[[], object]", *, keeps_records: bool) -> None:
    """Keep calls from now on. Called by the thread that starts telemetry.

    Args:
        end_process: Waits for the end of the start and delivers what is kept; runs before a call of
            another thread that ends the process at once.
        keeps_records: Whether records of :mod:`logging` are kept.
    """
    _state.starter = threads.get_ident()
    process_exit.register(
        _NAME, process_exit.Order.INSTRUMENTOR_LOADING, before_exit=end_process, before_signal=end_process
    )
    if keeps_records:
        import_hooks.when_imported("logging", _keep_log_records)


def end(record: "Callable[[Call], None] | None") -> None:
    """Record what was kept, and keep nothing from now on.

    Args:
        record: Records a call; None where telemetry is off.
    """
    _state.starter = 0
    for logger, found, replacement in _state.replaced:
        if logger.callHandlers is replacement:
            logger.callHandlers = found
    _state.replaced.clear()
    process_exit.unregister(_NAME)
    _state.record = record
    if record is None:
        _state.off = True
        _calls.clear()
    _replay()
    if _state.dropped:
        say(
            f"{_state.dropped} log records and errors were dropped: more than {_MAX_CALLS} came while telemetry started",
            code="OD121",
        )


def _replay() -> None:
    record = _state.record
    while record is not None and _calls:
        with guard("recording what came while telemetry started"):
            try:
                call = _calls.popleft()
            except IndexError:
                # Another thread has taken the last one.
                return
            call.context.run(record, call)


def wait_for(start: "Start", deadline: float) -> None:
    """Wait for the start of telemetry in another thread.

    Not where that thread needs an import that this one is in the middle of: it would never end.

    Args:
        start: The state of the start.
        deadline: End of the wait, as ``time.monotonic()``.
    """
    while True:
        left = deadline - time.monotonic()
        if start.lock.acquire(True, max(0.0, min(left, _IMPORT_CHECK_S))):
            start.lock.release()
            return
        if left <= 0 or import_hooks.is_import_needed_by(start.activating):
            return


def waiting() -> int:
    """Return the number of calls that are kept."""
    return len(_calls)


def report_lost() -> None:
    """Say that the process ends before telemetry has started, if something was kept."""
    if _calls:
        say(
            f"the process ended before telemetry had started: {len(_calls)} log records and errors are lost. "
            "OTEL_DISTRO_EXIT_TIMEOUT sets how long it waits",
            code="OD122",
        )


def reset_after_fork() -> None:
    """Keep nothing in a forked child: its parent records what was kept."""
    _calls.clear()
    _state.starter = _state.dropped = 0
    _state.record, _state.off = None, True


def keep(kind: str, *arguments: "Any") -> None:
    """Keep a call, unless it is one of the thread that starts telemetry."""
    if _state.off or _state.starter == threads.get_ident():
        return
    if len(_calls) >= _MAX_CALLS:
        _state.dropped += 1
        return
    _calls.append(Call(kind, arguments))
    # Telemetry may have started since.
    _replay()


def call(attribute: str, original: "Callable[..., Any]", args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> "Any":
    """Call a function that has a trampoline, and keep what it has to record."""
    before, after = _NOTES_BEFORE.get(attribute), _NOTES_AFTER.get(attribute)
    if before is not None:
        with guard(_KEEPING):
            before(*args, **kwargs)
    try:
        return original(*args, **kwargs)
    finally:
        if after is not None:
            with guard(_KEEPING):
                after(*args, **kwargs)


def _note_thread_exception(args: "Any") -> None:
    if isinstance(args.exc_value, Exception):
        keep("exception", args.exc_value, "thread")


def _note_loop_exception(_: "Any", context: "dict[str, Any]") -> None:
    error = context.get("exception")
    if isinstance(error, Exception):
        task: Any = context.get("task") or context.get("future")
        keep("exception", error, "asyncio", str(task.get_name()) if hasattr(task, "get_name") else "")


def _note_loguru(handler: "Any", record: "dict[str, Any]", *_: "Any", **__: "Any") -> None:
    outer = _argument_above("callHandlers", "logging")
    if outer is None or outer.getMessage() != record["message"]:
        keep("loguru", handler, dict(record))


def _note_record(logger: "Any", record: "Any") -> None:
    if _is_handled_again(record):
        return
    relayed = _argument_above("emit", "loguru._handler")
    if relayed is not None and isinstance(record.msg, str) and relayed["message"] in record.msg:
        return
    kept = object.__new__(type(record))
    vars(kept).update(vars(record))
    with suppress(Exception):
        # Now, since the arguments may change. Bad ones are reported by logging itself.
        kept.message = record.getMessage()
    keep("record", logger, kept)


_NOTES_BEFORE: "dict[str, Callable[..., None]]" = {
    "call_exception_handler": _note_loop_exception,
    "excepthook": _note_thread_exception,
}
_NOTES_AFTER: "dict[str, Callable[..., None]]" = {"callHandlers": _note_record, "emit": _note_loguru}


def _is_handled_again(record: "Any") -> bool:
    """Return whether the record was made in another thread or process, which has recorded it."""
    if record.process is None or record.thread is None:
        return False
    if record.process == os.getpid():
        return bool(record.thread != _thread_id())
    return bool(record.processName != "MainProcess" or record.process == os.getppid())


def _thread_id() -> int:
    # Looked up at each call: gevent may have replaced it.
    threading: Any = sys.modules.get("threading")
    return int(getattr(threading, "get_ident", threads.get_ident)())


def _argument_above(function: str, module: str) -> "Any":
    """Return the argument ``record`` of the innermost call of a function, None without a call."""
    frame: Any = sys._getframe(1)
    file = getattr(sys.modules.get(module), "__file__", None)
    while frame is not None:
        if frame.f_code.co_name == function and frame.f_code.co_filename == file:
            return frame.f_locals.get("record")
        frame = frame.f_back
    return None


def _keep_log_records(logging: "Any") -> None:
    """Keep the records of :mod:`logging` until its instrumentor takes over.

    Some handlers count the frames up to the logging call, so the replacement calls the handlers
    itself. Where another tool has wrapped the function, its trampoline keeps the records.
    """
    found = logging.Logger.callHandlers
    original = import_hooks.without_trampoline(found)
    if original.__code__.co_filename != logging.Handler.handle.__code__.co_filename:
        return

    def callHandlers(logger: "Any", record: "Any") -> None:  # noqa: N802 - logging's name
        try:
            current = logger
            unhandled = True
            while current is not None:
                for handler in current.handlers:
                    unhandled = False
                    if record.levelno >= handler.level:
                        handler.handle(record)
                current = current.parent if current.propagate else None
            if unhandled:
                # The original implements lastResort.
                original(logger, record)
        finally:
            with guard(_KEEPING):
                _note_record(logger, record)

    callHandlers.__code__ = callHandlers.__code__.replace(co_filename=logging.__file__)
    import_hooks.mark_as_trampoline(callHandlers, original)
    logging.Logger.callHandlers = callHandlers
    _state.replaced.append((logging.Logger, found, callHandlers))
