"""Export every record of loguru that the level of a sink accepts as an OpenTelemetry log record.

It wraps ``Handler.emit`` and adds no sink: the output of the sinks is unchanged, and
``logger.remove()`` removes nothing of it. Patchers, ``bind``, ``contextualize``, ``opt(lazy=True)``
and ``opt(exception=…)`` were applied before. A record that a sink passes to :mod:`logging`, or that
came from there, is exported once.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._runtime.diagnostics import report_failure
from otel_distro._startup import logging_hooks
from otel_distro.instrumentation import Instrumentor, log_records
from otel_distro.instrumentation._logging import emit, levels
from otel_distro.instrumentation._logging.values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

# Private modules of loguru: its public API shows a record only to sinks.
_handler: Any = import_module("loguru._handler")
_logger: Any = import_module("loguru._logger")


class LoguruRecordsInstrumentor(Instrumentor):
    """Entry point ``loguru_records``."""

    def install(self) -> None:
        """Wrap ``Handler.emit`` of loguru, and lower its minimum level to that of the rules."""
        self.patch(_handler.Handler, "emit", _wrap_emit)
        if "min_level" not in vars(_logger.Core):
            _logger.Core.min_level = _MinLevel()

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        if isinstance(vars(_logger.Core).get("min_level"), _MinLevel):
            del _logger.Core.min_level


class _MinLevel:
    """The lowest level of all sinks, or that of ``OTEL_DISTRO_LOG_LEVELS`` if it is lower."""

    def __get__(self, core: Any, owner: Any = None) -> Any:
        if core is None:
            return self
        lowest = levels.lowest()
        own = core.__dict__["min_level"]
        return own if lowest is None or not core.handlers else min(own, lowest)

    def __set__(self, core: Any, value: Any) -> None:
        core.__dict__["min_level"] = value


class _Thread(threading.local):
    exported: Any = None
    """The object ``elapsed`` of the newest exported record: all sinks get the same record."""


_thread = _Thread()


def _wrap_emit(original: Callable[..., Any]) -> Callable[..., Any]:
    def emit(handler: Any, record: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        passing = log_records.thread
        outer, passing.relayed = passing.relayed, record["message"]
        try:
            return original(handler, record, *args, **kwargs)
        finally:
            passing.relayed = outer
            _export(handler, record)

    return emit


def export_kept(handler: Any, record: dict[str, Any], thread: tuple[int, str]) -> None:
    """Emit a record that was made while telemetry started.

    Args:
        handler: The sink that got it.
        record: The record.
        thread: Identity and name of the thread that made it.
    """
    _export(handler, record, thread)


def _export(handler: Any, record: dict[str, Any], made_in: tuple[int, str] | None = None) -> None:
    """Emit the record once, however many sinks get it. Never raises."""
    try:
        level = record["level"]
        name = record["name"] or ""
        if _thread.exported is record["elapsed"] or (handler._levelno > level.no and levels.threshold(name) is None):
            # Exported for another sink; or below the level of this sink, and no rule applies.
            return
        _thread.exported = record["elapsed"]
        source = emit.source_of(name, level.no)
        if source is None or _came_from_logging(record["message"]):
            return
        emit.thread.busy = True
        try:
            error = None if record["exception"] is None else record["exception"].value
            emit.emit(
                source,
                int(record["time"].timestamp() * 1e9),
                level.no,
                level.name,
                record["message"],
                emit.location_of(
                    record["file"].path,
                    record["line"],
                    record["function"],
                    record["thread"].id,
                    record["thread"].name,
                ),
                _extras(record, error, made_in),
                record["message"],
                error,
            )
        finally:
            emit.thread.busy = False
    except RecursionError:
        return
    except Exception as error:
        report_failure("exporting a record of loguru", error)


def _came_from_logging(message: str) -> bool:
    """Return whether the record comes from :mod:`logging`, which is exported already."""
    outer = log_records.thread.record
    if outer is None:
        return False
    if log_records.thread.body is None:
        log_records.thread.body = log_records.body_of(outer)
    return log_records.thread.body == message


def _extras(
    record: dict[str, Any], error: BaseException | None, made_in: tuple[int, str] | None
) -> dict[str, AnyValue]:
    extras: dict[str, AnyValue] = {
        str(key): snapshot(value)
        for key, value in record["extra"].items()
        if key not in logging_hooks.TRACE_FIELDS and value is not None
    }
    if error is not None:
        extras.update(log_records.exception_attributes(error, record["level"].no))
        if made_in is not None:
            extras.update(zip((schema.THREAD_ID.name, schema.THREAD_NAME.name), made_in, strict=True))
    return extras
