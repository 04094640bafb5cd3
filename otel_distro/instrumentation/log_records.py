"""Every record of :mod:`logging` that a logger lets through, as an OpenTelemetry log record.

It listens where a logger hands a record to its handlers, and adds no handler itself. So what the application prints is
untouched (``basicConfig``, ``dictConfig``, ``lastResort`` work as ever), loggers that do not propagate are heard too, and
no record comes twice. It stands in the place of upstream's ``opentelemetry-instrumentation-logging``.

Source: https://opentelemetry.io/docs/specs/otel/logs/data-model/
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

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
    # The message once more, with colours, as uvicorn adds it.
    "color_message",
    *logging_hooks.TRACE_FIELDS,
}
_COLOUR = "\x1b"


class LogRecordsInstrumentor(Instrumentor):
    """Entry point ``log_records``."""

    def install(self) -> None:
        """Listen at ``logging.Logger.callHandlers``."""
        self.patch(logging.Logger, "callHandlers", _call_handlers)
        levels.start()
        deduplicate.start(emit.send)

    def _uninstrument(self, **kwargs: Any) -> None:
        levels.stop()
        deduplicate.stop()
        super()._uninstrument(**kwargs)


class StructuredEvent(NamedTuple):
    """An event of a structured logger that becomes a record: that record's message, and what is told in its place."""

    message: object
    body: str
    place: CodeLocation
    extras: dict[str, AnyValue]
    error: BaseException | None


class _Thread(threading.local):
    """What this thread is handing on, so that one thing that passes two libraries comes once."""

    record: logging.LogRecord | None = None
    """The record of :mod:`logging` that its handlers are given."""
    body: str | None = None
    """The text of that record, once somebody asked."""
    relayed: str | None = None
    """The message that another library gives to its handlers, which may pass it on to :mod:`logging`."""
    event: StructuredEvent | None = None


thread = _Thread()


def _call_handlers(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands in the place of ``Logger.callHandlers``.

    Handlers that count the frames up to whoever logged, as those that pass records on to loguru, must find as many as
    ever. So it goes through the handlers itself, unless somebody else stands in that place already.
    """
    code = getattr(original, "__code__", None)
    hand_on = None if code is not None and code.co_filename == logging.Handler.handle.__code__.co_filename else original

    def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if logging_hooks.wanted:
            _add_trace_fields(record)
        event, thread.event = thread.event, None
        outer, thread.record = thread.record, record
        try:
            if levels.patched and levels.is_for_export_only(logger, record):
                return
            if hand_on is not None:
                hand_on(logger, record)
                return
            current: logging.Logger | None = logger
            nobody = True
            while current is not None:
                for handler in current.handlers:
                    nobody = False
                    if record.levelno >= handler.level:
                        handler.handle(record)
                current = current.parent if current.propagate else None
            if nobody:
                # It knows what to do without handlers.
                original(logger, record)
        finally:
            _export(record, event if event is not None and event.message is record.msg else None)
            thread.record, thread.body = outer, None

    # Where logging complains of bad arguments it shows who called, from the first frame on that is not in its own file.
    callHandlers.__code__ = callHandlers.__code__.replace(co_filename=logging.__file__)
    return callHandlers


def _add_trace_fields(record: logging.LogRecord) -> None:
    try:
        values = logging_hooks.trace_fields()
        for name in logging_hooks.wanted:
            record.__dict__.setdefault(name, values[name])
    except Exception as error:
        report_failure("the trace fields of a log record", error)


def _export(record: logging.LogRecord, event: StructuredEvent | None) -> None:
    """Emit the record unless it was emitted before or nobody wants it. Never raises."""
    try:
        source = emit.source_of(record.name, record.levelno)
        if source is None or _was_told(record):
            return
        emit.thread.busy = True
        try:
            if event is None:
                error = record.exc_info[1] if record.exc_info else None
                if error is not None and record.name == "asyncio" and errors.was_recorded(error):
                    # asyncio logs what error_tracking has just recorded: one failure, one record.
                    return
                body, place, extras, template = (
                    thread.body or body_of(record),
                    _place(record),
                    _extras(record),
                    record.msg,
                )
            else:
                body, place, extras, error, template = event.body, event.place, event.extras, event.error, event.body
            if error is not None:
                extras.update(exception_attributes(error, record.levelno))
            emit.emit(
                source, int(record.created * 1e9), record.levelno, record.levelname, body, place, extras, template
            )
        finally:
            emit.thread.busy = False
    except RecursionError:
        return
    except Exception as error:
        report_failure("exporting a log record", error)


def body_of(record: logging.LogRecord) -> str:
    """Return the message of a record, as a formatter of the application has already made it where one has."""
    made = record.__dict__.get("message")
    if type(made) is str and _COLOUR not in made:
        return made
    try:
        return record.getMessage()
    except Exception:
        # Bad arguments are the application's, and logging reports them itself.
        return text_of(record.msg)


def _place(record: logging.LogRecord) -> CodeLocation:
    return emit.place_of(
        record.pathname, record.lineno, record.funcName or "", record.thread or 0, record.threadName or ""
    )


def _extras(record: logging.LogRecord) -> dict[str, AnyValue]:
    given = record.__dict__
    if _STANDARD.issuperset(given):
        return {}
    return {key: snapshot(given[key]) for key in given.keys() - _STANDARD if given[key] is not None}


def exception_attributes(error: BaseException, level: int) -> dict[str, AnyValue]:
    """Return what is told of an exception that was logged, and count it from WARNING on: below it was no failure."""
    if level >= logging.WARNING:
        return errors.describe(error, handler="log", handled=True)
    return errors.attributes_of(error, handler="log", handled=True)


def _was_told(record: logging.LogRecord) -> bool:
    """Return whether the record was emitted where it was made, and is handled here once more.

    Listeners of queues do that with records of other threads, and of processes that multiprocessing started: those run
    under telemetry themselves. Loguru's sinks do it with what loguru has emitted.
    """
    if thread.relayed and isinstance(record.msg, str) and thread.relayed in record.msg:
        return True
    process = record.process
    if process is None or record.thread is None:
        return False
    if process == _pid:
        # Asked anew: gevent may have put its own in the place of it, as logging then sees it.
        return record.thread != threading.get_ident()
    return record.processName != "MainProcess" or process == os.getppid()


def reset_after_fork() -> None:
    """Note the pid of a forked child."""
    global _pid
    _pid = os.getpid()


_pid = os.getpid()
fork.register("log records", fork.Order.LOG_RECORDS, after_in_child=reset_after_fork)
