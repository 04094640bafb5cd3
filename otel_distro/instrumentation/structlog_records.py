"""Every event of structlog, as an OpenTelemetry log record: once, with its keys as attributes in their own types.

It listens before the last processor of a chain, the one that makes a text of the event, and adds nothing to the
application's configuration. An event that goes on to :mod:`logging` is exported there, when it is certain that it is let
through; any other one when its text is made. It stands in the place of upstream's ``opentelemetry-instrumentation-structlog``.
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

# Structlog's own modules: its public interface has no place where an event is seen once, whatever its chain.
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
# What a log record has in fields of its own.
_FIELDS = {"event", "exc_info", "stack_info", *logging_hooks.TRACE_FIELDS}
# The same, where it was not given with the event: processors of structlog add it.
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
        """Give every bound logger a chain of processors that tells us of its events."""
        if "_processors" not in vars(_base.BoundLoggerBase):
            _base.BoundLoggerBase._processors = _Processors()

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        if isinstance(vars(_base.BoundLoggerBase).get("_processors"), _Processors):
            del _base.BoundLoggerBase._processors


class _Processors:
    """The attribute ``_processors`` of bound loggers: what the application put there, told on by :class:`_Chain`."""

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
    """The application's processors, and where they are called one after the other, our two steps among them."""

    def __init__(self, processors: Any) -> None:
        self.processors = processors

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        chain = list(self.processors)
        if not chain:
            return iter(chain)
        event = _Event(chain[-1])
        return iter((event.note, *chain[:-1], event.tell))

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
    """One event on its way through a chain that ends with ``last``."""

    __slots__ = ("_error", "_given", "_last")

    def __init__(self, last: Callable[..., Any]) -> None:
        self._last = last
        self._error: BaseException | None = None
        self._given: frozenset[str] = frozenset()

    def note(self, _: Any, method_name: str, event_dict: Any) -> Any:
        """Note the exception before a processor makes a text of it, and which keys the application gave."""
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

    def tell(self, logger: Any, method_name: str, event_dict: Any) -> Any:
        """Call the last processor, and export what it was given."""
        # It may take that apart.
        taken = dict(event_dict) if isinstance(event_dict, Mapping) else {"event": event_dict}
        made = self._last(logger, method_name, event_dict)
        error, self._error = self._error, None
        _export(logger, method_name, taken, self._given, error, made)
        return made


def _export(
    logger: Any,
    method_name: str,
    event: dict[str, Any],
    given: frozenset[str],
    error: BaseException | None,
    made: Any,
) -> None:
    """Emit the event, or leave that to :mod:`logging` where it goes there. Never raises."""
    try:
        if emit.thread.busy:
            return
        level = _level(method_name, event)
        if isinstance(logger, (logging.Logger, logging.LoggerAdapter)):
            if logger.isEnabledFor(level):
                emit.thread.busy = True
                try:
                    body, place, extras, _ = _told(event, given)
                finally:
                    emit.thread.busy = False
                log_records.thread.event = log_records.StructuredEvent(_message(made), body, place, extras, error)
            return
        emit.thread.busy = True
        try:
            body, place, extras, module = _told(event, given)
            if error is not None:
                extras.update(log_records.exception_attributes(error, level))
        finally:
            emit.thread.busy = False
        name = event.get("logger")
        source = emit.source_of(name if isinstance(name, str) else module, level)
        if source is not None:
            emit.emit(source, time.time_ns(), level, logging.getLevelName(level), body, place, extras, body)
    except RecursionError:
        return
    except Exception as error_of_ours:
        report_failure("exporting an event of structlog", error_of_ours)


def _level(method_name: str, event: dict[str, Any]) -> int:
    for word in (event.get("level"), method_name):
        if isinstance(word, str) and word.lower() in _LEVELS:
            return _LEVELS[word.lower()]
    return logging.INFO


def _told(event: dict[str, Any], given: frozenset[str]) -> tuple[str, CodeLocation, dict[str, AnyValue], str]:
    """Return text, place, further attributes and module of an event."""
    frame, module = _frames._find_first_app_frame_and_name(["otel_distro.", "logging"])
    code, thread = frame.f_code, threading.current_thread()
    place = emit.place_of(code.co_filename, frame.f_lineno, code.co_name, thread.ident or 0, thread.name)
    extras: dict[str, AnyValue] = {}
    for key, value in event.items():
        name = text_of(key)
        if value is None or name in _FIELDS or name.startswith("_") or (name in _ADDED and key not in given):
            continue
        extras[name] = snapshot(value)
    return text_of(event.get("event", "")), place, extras, module


def _message(made: Any) -> object:
    """Return what becomes the message of the record in :mod:`logging`, the very object."""
    if isinstance(made, tuple):
        arguments, named = made
        return arguments[0] if arguments else named.get("msg")
    return made.get("msg") if isinstance(made, dict) else made
