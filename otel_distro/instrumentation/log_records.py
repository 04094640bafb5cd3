"""Export every record of :mod:`logging` that passes its logger as an OpenTelemetry log record.

It wraps ``Logger.callHandlers`` and adds no handler. So the application's output is unchanged
(``basicConfig``, ``dictConfig`` and ``lastResort`` work as without it), loggers that do not
propagate are covered, and no record is exported twice. Replaces upstream's
``opentelemetry-instrumentation-logging``.

Source: https://opentelemetry.io/docs/specs/otel/logs/data-model/
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_distro import schema
from otel_distro._runtime import fork
from otel_distro._runtime.diagnostics import report_failure, text_of
from otel_distro._startup import logging_hooks
from otel_distro.errors import exception_report as errors
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._logging import deduplicate, emit, levels
from otel_distro.instrumentation._logging.values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

    from otel_distro.export.log_entry import CodeLocation

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    # The message with colour codes, as uvicorn adds it.
    "color_message",
    *logging_hooks.TRACE_FIELDS,
}
_COLOUR = "\x1b"


class LogRecordsInstrumentor(Instrumentor):
    """Entry point ``log_records``."""

    def install(self) -> None:
        """Wrap ``logging.Logger.callHandlers``."""
        self.patch(logging.Logger, "callHandlers", _wrap_call_handlers)
        levels.start()
        deduplicate.start(emit.send)

    def _uninstrument(self, **kwargs: Any) -> None:
        levels.stop()
        deduplicate.stop()
        super()._uninstrument(**kwargs)


class StructuredEvent(NamedTuple):
    """An event of structlog that goes through :mod:`logging`.

    ``message``: identifies its record. The other fields are exported in place of the record's.
    """

    message: object
    body: str
    location: CodeLocation
    extras: dict[str, AnyValue]
    error: BaseException | None


class _Thread(threading.local):
    """Record that this thread is passing to handlers, so that two libraries export it once."""

    record: logging.LogRecord | None = None
    """The record of :mod:`logging` that the handlers are processing."""
    body: str | None = None
    """The message of that record, once it was computed."""
    relayed: str | None = None
    """The message that loguru's sinks are processing; they may pass it to :mod:`logging`."""
    event: StructuredEvent | None = None
    """The event of structlog whose record follows."""


thread = _Thread()


def _wrap_call_handlers(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``Logger.callHandlers``.

    Some handlers count the frames up to the logging call, such as those that pass records to
    loguru. The replacement must not add a frame, so it calls the handlers itself, unless another
    tool has replaced the method before.
    """
    code = getattr(original, "__code__", None)
    call_next = (
        None if code is not None and code.co_filename == logging.Handler.handle.__code__.co_filename else original
    )

    null_handler = logging.NullHandler

    def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if logging_hooks.wanted:
            _add_trace_fields(record)
        event, thread.event = thread.event, None
        outer, thread.record = thread.record, record
        shown = False
        try:
            if levels.patched and levels.is_for_export_only(logger, record):
                return
            if call_next is not None:
                call_next(logger, record)
                return
            current: logging.Logger | None = logger
            unhandled = True
            while current is not None:
                for handler in current.handlers:
                    unhandled = False
                    if record.levelno >= handler.level:
                        shown = shown or type(handler) is not null_handler
                        handler.handle(record)
                current = current.parent if current.propagate else None
            if unhandled:
                # The original implements lastResort.
                original(logger, record)
        finally:
            if shown or levels.is_wanted(logger, record):
                _export(record, event if event is not None and event.message is record.msg else None)
            thread.record, thread.body = outer, None

    # Reports of bad arguments show the first frame outside of logging's own file: hide this one.
    callHandlers.__code__ = callHandlers.__code__.replace(co_filename=logging.__file__)
    return callHandlers


def _add_trace_fields(record: logging.LogRecord) -> None:
    try:
        error = (record.exc_info[1] if record.exc_info else None) or _handled_error(record)
        values = logging_hooks.trace_fields(None if error is None else emit.context_of(error))
        for name in logging_hooks.wanted:
            record.__dict__.setdefault(name, values[name])
    except Exception as error:
        report_failure("the trace fields of a log record", error)


def _handled_error(record: logging.LogRecord) -> BaseException | None:
    """Return the exception that is being handled, for a record from WARNING on.

    Some servers log the failure of a request with its traceback in the message only.
    """
    return sys.exc_info()[1] if record.levelno >= logging.WARNING else None


def export_kept(logger: logging.Logger, record: logging.LogRecord, thread: tuple[int, str]) -> None:
    """Emit a record that was made while telemetry started.

    Args:
        logger: The logger that passed it to its handlers.
        record: The record.
        thread: Identity and name of the thread that made it.
    """
    if levels.is_wanted(logger, record):
        _export(record, None, thread)


def _export(record: logging.LogRecord, event: StructuredEvent | None, made_in: tuple[int, str] | None = None) -> None:
    """Emit the record unless it is a duplicate or its level is not exported. Never raises."""
    try:
        if event is None and _export_plain(record):
            return
        source = emit.source_of(record.name, record.levelno)
        if source is None or (made_in is None and _is_duplicate(record)):
            return
        emit.thread.busy = True
        try:
            if event is None:
                error = record.exc_info[1] if record.exc_info else None
                if error is not None and record.name == "asyncio" and errors.was_recorded(error):
                    # asyncio logs the exception that error_tracking has just recorded.
                    return
                body, location, extras, template = (
                    thread.body or body_of(record),
                    _location(record),
                    _extras(record),
                    record.msg,
                )
            else:
                body, location, extras, error, template = (
                    event.body,
                    event.location,
                    event.extras,
                    event.error,
                    event.body,
                )
            if error is not None:
                extras.update(exception_attributes(error, record.levelno))
                if made_in is not None:
                    extras.update(zip((schema.THREAD_ID.name, schema.THREAD_NAME.name), made_in, strict=True))
            emit.emit(
                source,
                int(record.created * 1e9),
                record.levelno,
                record.levelname,
                body,
                location,
                extras,
                template,
                error or _handled_error(record),
            )
        finally:
            emit.thread.busy = False
    except RecursionError:
        return
    except Exception as error:
        report_failure("exporting a log record", error)


def _export_plain(record: logging.LogRecord) -> bool:
    """Emit a record without an exception, from a place that is known: the usual case.

    Returns:
        Whether nothing is left to do. If not, :func:`_export` does all of it.
    """
    level, given, state = record.levelno, record.__dict__, thread.__dict__
    if record.exc_info or (level >= logging.WARNING and sys.exc_info()[1] is not None):
        return False
    if state.get("relayed") or record.process != _pid or record.thread != threading.get_ident():
        return False
    source = emit.source_of(record.name, level)
    if source is None:
        return True
    busy = emit.thread
    busy.busy = True
    try:
        return emit.send_plain(
            source,
            record.created,
            level,
            record.levelname,
            state.get("body") or body_of(record),
            (record.pathname, record.lineno, record.funcName, record.thread, record.threadName),
            {} if _STANDARD.issuperset(given) else _extras(record),
        )
    finally:
        busy.busy = False


def body_of(record: logging.LogRecord) -> str:
    """Return the message of a record; reuse it if a formatter has stored it."""
    stored = record.__dict__.get("message")
    if type(stored) is str and _COLOUR not in stored:
        return stored
    try:
        return record.getMessage()
    except Exception:
        # Bad arguments: logging reports them itself.
        return text_of(record.msg)


def _location(record: logging.LogRecord) -> CodeLocation:
    return emit.location_of(
        record.pathname, record.lineno, record.funcName or "", record.thread or 0, record.threadName or ""
    )


def _extras(record: logging.LogRecord) -> dict[str, AnyValue]:
    given = record.__dict__
    if _STANDARD.issuperset(given):
        return {}
    return {key: snapshot(given[key]) for key in given.keys() - _STANDARD if given[key] is not None}


def exception_attributes(error: BaseException, level: int) -> dict[str, AnyValue]:
    """Return the attributes of a logged exception, and count it from level WARNING on."""
    if level >= logging.WARNING:
        return errors.describe(error, handler="log", handled=True)
    return errors.attributes_of(error, handler="log", handled=True)


def _is_duplicate(record: logging.LogRecord) -> bool:
    """Return whether the record was exported where it was made and is only handled again here.

    ``QueueListener`` does that with records of other threads, and of processes that multiprocessing
    has started: those export their records themselves. Sinks of loguru do it with loguru's records.
    """
    if thread.relayed and isinstance(record.msg, str) and thread.relayed in record.msg:
        return True
    process = record.process
    if process is None or record.thread is None:
        return False
    if process == _pid:
        # Looked up at each call: gevent may have replaced it, and logging uses the replacement.
        return record.thread != threading.get_ident()
    return record.processName != "MainProcess" or process == os.getppid()


def reset_after_fork() -> None:
    """Store the process id of the forked child."""
    global _pid
    _pid = os.getpid()


_pid = os.getpid()
fork.register("log records", fork.Order.LOG_RECORDS, after_in_child=reset_after_fork)
