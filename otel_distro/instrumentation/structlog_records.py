"""Export every event of structlog once as an OpenTelemetry log record, with typed attributes.

It runs around the last processor of a chain, the renderer, and changes nothing in the application's
configuration. An event that goes to :mod:`logging` is exported there, once its logger accepts it;
any other event is exported when it was rendered. Replaces upstream's
``opentelemetry-instrumentation-structlog``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard, report_failure, text_of
from otel_distro._startup import logging_hooks
from otel_distro.instrumentation import Instrumentor, log_records
from otel_distro.instrumentation._logging import emit
from otel_distro.instrumentation._logging.values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.util.types import AnyValue

    from otel_distro.export.log_entry import CodeLocation

# Private modules of structlog: its public API has no hook that every event passes once.
_base: Any = import_module("structlog._base")
_frames: Any = import_module("structlog._frames")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "msg": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "err": logging.ERROR,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "failure": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
# Keys that become fields of the log record.
_FIELDS = {"event", "exc_info", "stack_info", *logging_hooks.TRACE_FIELDS}
# Keys that processors of structlog add; attributes only if the application gave them itself.
_ADDED = {
    "level",
    "level_number",
    "logger",
    "timestamp",
    "exception",
    "pathname",
    "filename",
    "module",
    "qual_name",
    "qual_module",
    "func_name",
    "lineno",
    "thread",
    "thread_name",
    "process",
    "process_name",
}


class StructlogRecordsInstrumentor(Instrumentor):
    """Entry point ``structlog_records``."""

    def install(self) -> None:
        """Wrap the processor chain of every bound logger."""
        if "_processors" not in vars(_base.BoundLoggerBase):
            _base.BoundLoggerBase._processors = _Processors()

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        if isinstance(vars(_base.BoundLoggerBase).get("_processors"), _Processors):
            del _base.BoundLoggerBase._processors


class _Processors:
    """Descriptor ``_processors`` of bound loggers: returns the chain wrapped in :class:`_Chain`."""

    def __get__(self, bound: Any, owner: Any = None) -> Any:
        if bound is None:
            return self
        try:
            return _Chain(bound.__dict__["_processors"])
        except KeyError:
            raise AttributeError("_processors") from None

    def __set__(self, bound: Any, value: Any) -> None:
        # The application's own list, not a copy: structlog's `capture_logs` changes it in place.
        bound.__dict__["_processors"] = value.processors if type(value) is _Chain else value


class _Chain:
    """The application's processors; iterating adds a step before the first and wraps the last."""

    def __init__(self, processors: Any) -> None:
        self.processors = processors

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        chain = list(self.processors)
        if not chain:
            return iter(chain)
        event = _Event(chain[-1])
        return iter((event.inspect, *chain[:-1], event.render))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processors, name)

    def __len__(self) -> int:
        return len(self.processors)

    def __getitem__(self, index: Any) -> Any:
        return self.processors[index]

    def __eq__(self, other: object) -> bool:
        return bool(self.processors == (other.processors if isinstance(other, _Chain) else other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.processors)


class _Event:
    """One event in a chain whose last processor is ``last``."""

    __slots__ = ("_error", "_given", "_last")

    def __init__(self, last: Callable[..., Any]) -> None:
        self._last = last
        self._error: BaseException | None = None
        self._given: frozenset[str] = frozenset()

    def inspect(self, _: Any, method_name: str, event_dict: Any) -> Any:
        """Store the exception, before a processor formats it, and the keys the application gave."""
        with guard("the exception of an event of structlog"):
            self._given = frozenset(event_dict)
            given = event_dict.get("exc_info", method_name == "exception")
            if isinstance(given, BaseException):
                self._error = given
            elif isinstance(given, tuple):
                self._error = given[1] if len(given) > 1 else None
            elif given:
                self._error = sys.exc_info()[1]
        return event_dict

    def render(self, logger: Any, method_name: str, event_dict: Any) -> Any:
        """Call the last processor, and export its input."""
        # A copy, because the processor may change it.
        copy = dict(event_dict) if isinstance(event_dict, Mapping) else {"event": event_dict}
        rendered = self._last(logger, method_name, event_dict)
        error, self._error = self._error, None
        _export(logger, method_name, copy, self._given, error, rendered)
        return rendered


def _export(
    logger: Any,
    method_name: str,
    event: dict[str, Any],
    given: frozenset[str],
    error: BaseException | None,
    rendered: Any,
) -> None:
    """Emit the event, or let :mod:`logging` do it if the event goes there. Never raises."""
    try:
        if emit.thread.busy:
            return
        level = _level(method_name, event)
        if isinstance(logger, (logging.Logger, logging.LoggerAdapter)):
            if logger.isEnabledFor(level):
                emit.thread.busy = True
                try:
                    body, location, extras, _ = _fields_of(event, given)
                finally:
                    emit.thread.busy = False
                log_records.thread.event = log_records.StructuredEvent(
                    _message(rendered), body, location, extras, error
                )
            return
        emit.thread.busy = True
        try:
            body, location, extras, module = _fields_of(event, given)
            if error is not None:
                extras.update(log_records.exception_attributes(error, level))
        finally:
            emit.thread.busy = False
        name = event.get("logger")
        source = emit.source_of(name if isinstance(name, str) else module, level)
        if source is not None:
            emit.emit(source, time.time_ns(), level, logging.getLevelName(level), body, location, extras, body, error)
    except RecursionError:
        return
    except Exception as failure:
        report_failure("exporting an event of structlog", failure)


def _level(method_name: str, event: dict[str, Any]) -> int:
    for word in (event.get("level"), method_name):
        if isinstance(word, str) and word.lower() in _LEVELS:
            return _LEVELS[word.lower()]
    return logging.INFO


def _fields_of(event: dict[str, Any], given: frozenset[str]) -> tuple[str, CodeLocation, dict[str, AnyValue], str]:
    """Return message, code location, further attributes and module of an event."""
    frame, module = _frames._find_first_app_frame_and_name(["otel_distro.", "logging"])
    code, thread = frame.f_code, threading.current_thread()
    location = emit.location_of(code.co_filename, frame.f_lineno, code.co_name, thread.ident or 0, thread.name)
    extras: dict[str, AnyValue] = {}
    for key, value in event.items():
        name = text_of(key)
        if value is None or name in _FIELDS or name.startswith("_") or (name in _ADDED and key not in given):
            continue
        extras[name] = snapshot(value)
    return text_of(event.get("event", "")), location, extras, module


def _message(rendered: Any) -> object:
    """Return the object that becomes ``msg`` of the record in :mod:`logging`."""
    if isinstance(rendered, tuple):
        arguments, named = rendered
        return arguments[0] if arguments else named.get("msg")
    return rendered.get("msg") if isinstance(rendered, dict) else rendered
