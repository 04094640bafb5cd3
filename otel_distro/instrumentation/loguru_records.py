"""Every record of loguru that its level lets through to a sink, as an OpenTelemetry log record.

It listens where loguru hands a record to its sinks, and adds none: ``logger.remove()`` takes nothing from us, and what the
sinks print stays as it is. Patchers, ``bind``, ``contextualize``, ``opt(lazy=True)`` and ``opt(exception=…)`` have done their
work by then. A record that a sink passes on to :mod:`logging`, or that came from there, is exported once.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import report_failure
from otel_distro._startup import logging_hooks
from otel_distro.instrumentation import Instrumentor, log_records
from otel_distro.instrumentation._logging import emit, levels
from otel_distro.instrumentation._logging.values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

# Loguru's own modules: what it calls public knows no record before a sink of the application has it.
_handler: Any = import_module("loguru._handler")
_logger: Any = import_module("loguru._logger")


class LoguruRecordsInstrumentor(Instrumentor):
    """Entry point ``loguru_records``."""

    def install(self) -> None:
        """Listen at ``loguru._handler.Handler.emit``, and let records exist that only the export wants."""
        self.patch(_handler.Handler, "emit", _emit)
        if "min_level" not in vars(_logger.Core):
            _logger.Core.min_level = _MinLevel()

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        if isinstance(vars(_logger.Core).get("min_level"), _MinLevel):
            del _logger.Core.min_level


class _MinLevel:
    """The lowest level that any sink takes, or that a rule of ``OTEL_DISTRO_LOG_LEVELS`` asks for where that is lower."""

    def __get__(self, core: Any, owner: Any = None) -> Any:
        if core is None:
            return self
        lowest = levels.lowest()
        own = core.__dict__["min_level"]
        return own if lowest is None or not core.handlers else min(own, lowest)

    def __set__(self, core: Any, value: Any) -> None:
        core.__dict__["min_level"] = value


class _Thread(threading.local):
    told: Any = None
    """Of the newest record of this thread an object that is its own: every sink gets the same record."""


_thread = _Thread()


def _emit(original: Callable[..., Any]) -> Callable[..., Any]:
    def emit(handler: Any, record: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        passing = log_records.thread
        outer, passing.relayed = passing.relayed, record["message"]
        try:
            return original(handler, record, *args, **kwargs)
        finally:
            passing.relayed = outer
            _export(handler, record)

    return emit


def _export(handler: Any, record: dict[str, Any]) -> None:
    """Emit the record once, whichever sinks get it. Never raises."""
    try:
        level = record["level"]
        name = record["name"] or ""
        if _thread.told is record["elapsed"] or (handler._levelno > level.no and levels.threshold(name) is None):
            # Told with another sink; or not for this sink, and no rule asks for it.
            return
        _thread.told = record["elapsed"]
        source = emit.source_of(name, level.no)
        if source is None or _came_from_logging(record["message"]):
            return
        emit.thread.busy = True
        try:
            raised = record["exception"]
            emit.emit(
                source,
                int(record["time"].timestamp() * 1e9),
                level.no,
                level.name,
                record["message"],
                emit.place_of(
                    record["file"].path,
                    record["line"],
                    record["function"],
                    record["thread"].id,
                    record["thread"].name,
                ),
                _extras(record, raised.value if raised is not None else None),
                record["message"],
            )
        finally:
            emit.thread.busy = False
    except RecursionError:
        return
    except Exception as error:
        report_failure("exporting a record of loguru", error)


def _came_from_logging(message: str) -> bool:
    """Return whether a handler of :mod:`logging` passes on what that library exports itself."""
    outer = log_records.thread.record
    if outer is None:
        return False
    if log_records.thread.body is None:
        log_records.thread.body = log_records.body_of(outer)
    return log_records.thread.body == message


def _extras(record: dict[str, Any], error: BaseException | None) -> dict[str, AnyValue]:
    extras: dict[str, AnyValue] = {
        str(key): snapshot(value)
        for key, value in record["extra"].items()
        if key not in logging_hooks.TRACE_FIELDS and value is not None
    }
    if error is not None:
        extras.update(log_records.exception_attributes(error, record["level"].no))
    return extras
