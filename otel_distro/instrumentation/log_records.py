"""Every record of :mod:`logging` that a logger lets through, as an OpenTelemetry log record.

It listens where a logger hands a record to its handlers, and adds no handler itself. So what the application prints is
untouched (``basicConfig``, ``dictConfig``, ``lastResort`` work as ever), loggers that do not propagate are heard too, and
no record comes twice. It stands in the place of upstream's ``opentelemetry-instrumentation-logging``.

Source: https://opentelemetry.io/docs/specs/otel/logs/data-model/
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._guard import guard
from otel_distro._upstream import SeverityNumber, get_logger
from otel_distro.instrumentation import Instrumentor, error_tracking

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

_OWN = ("opentelemetry", "otel_distro")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SCALARS = (str, bool, int, float)


class LogRecordsInstrumentor(Instrumentor):
    """Entry point ``log_records``."""

    def install(self) -> None:
        """Listen at ``logging.Logger.callHandlers``."""
        self.patch(logging.Logger, "callHandlers", _call_handlers)


def _call_handlers(original: Callable[..., Any]) -> Callable[..., Any]:
    def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        try:
            original(logger, record)
        finally:
            if record.name.partition(".")[0] not in _OWN:
                with guard("exporting a log record"):
                    _emit(record)

    # Where logging complains of bad arguments it shows who called, from the first frame on that is not in its own file.
    callHandlers.__code__ = callHandlers.__code__.replace(co_filename=logging.__file__)
    return callHandlers


def _emit(record: logging.LogRecord) -> None:
    try:
        body = record.getMessage()
    except Exception:
        # Bad arguments are the application's, and logging reports them itself.
        body = str(record.msg)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _is_report_of_tracked(record):
        return
    get_logger(record.name).emit(
        timestamp=int(record.created * 1e9),
        severity_number=_severity(record.levelno),
        severity_text=record.levelname,
        body=body,
        attributes=_attributes(record, error),
    )


def _attributes(record: logging.LogRecord, error: BaseException | None) -> dict[str, AnyValue]:
    attributes: dict[str, AnyValue] = {
        key: value if isinstance(value, _SCALARS) else error_tracking.text_of(value)
        for key, value in vars(record).items()
        if key not in _STANDARD and value is not None
    }
    attributes[schema.CODE_FILE_PATH.name] = record.pathname
    attributes[schema.CODE_FUNCTION_NAME.name] = record.funcName or ""
    attributes[schema.CODE_LINE_NUMBER.name] = record.lineno
    attributes[schema.THREAD_ID.name] = record.thread or 0
    attributes[schema.THREAD_NAME.name] = record.threadName or ""
    if error is not None:
        kind = type(error)
        attributes[schema.EXCEPTION_TYPE.name] = error_tracking.type_name(kind)
        attributes[schema.EXCEPTION_MESSAGE.name] = error_tracking.text_of(error)
        attributes[schema.EXCEPTION_STACKTRACE.name] = "".join(
            traceback.format_exception(kind, error, error.__traceback__)
        )
    return attributes


def _is_report_of_tracked(record: logging.LogRecord) -> bool:
    """Return whether asyncio logs an exception that ``error_tracking`` has just recorded: one failure, one record."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name == "asyncio" and error is not None and error_tracking.was_recorded(error)


def _severity(level: int) -> SeverityNumber:
    """Map a level to a severity number: ten levels of Python are four of OpenTelemetry, INFO is 9."""
    if level < logging.DEBUG:
        return SeverityNumber(max(1, min(4, 1 + level // 3)))
    return SeverityNumber(min(24, 5 + (level - logging.DEBUG) * 4 // 10))
