"""How a record of any logging library becomes a log record of OpenTelemetry: what :mod:`logging`, loguru and structlog share.

A record takes the short way into our queue, and the SDK's own where something of the user's stands on that.
"""

from __future__ import annotations

import threading
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import get_current_span

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._otel.sdk import SeverityNumber, get_logger_provider
from otel_distro.export.log_entry import CodeLocation, LogEntry
from otel_distro.export.processors import QueueLogRecordProcessor
from otel_distro.instrumentation._logging import deduplicate, levels

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.util.types import AnyValue

_OWN = ("opentelemetry", "otel_distro")
_MOST_SOURCES = 2000
_MOST_PLACES = 2000
_NEVER = float("inf")


class Source:
    """What is known of one logger: its logger of OpenTelemetry, from which level on it is exported, and the short way."""

    __slots__ = ("_config", "_fields", "_most", "_processors", "_put", "logger", "name", "scope", "threshold")

    def __init__(self, name: str) -> None:
        self.name = name
        self.logger: Any = sdk.get_logger(name)
        # What OpenTelemetry says about itself is not exported: a failing export would feed itself.
        limit = _NEVER if name.partition(".")[0] in _OWN else levels.threshold(name)
        self.threshold: float = -_NEVER if limit is None else limit
        self._processors: Any = None
        of_sdk = type(self.logger) is sdk.Logger
        self._fields: Callable[[Any], Any] = sdk.LOGGER_FIELDS if of_sdk else lambda _: ((), None, None)

    def way(self, attributes: int) -> tuple[Callable[[LogEntry], None], Any] | None:
        """Return what queues a record with so many attributes, and its resource; None where the SDK must do it.

        It must where another processor was added, the logger is switched off, or a limit of attributes bites.
        """
        processors, config, resource = self._fields(self.logger)
        if processors is not self._processors:
            if len(processors) != 1 or type(processors[0]) is not QueueLogRecordProcessor:
                return None
            most, longest = sdk.logger_limits(self.logger)
            self._most = 0 if longest is not None else _NEVER if most is None else most
            self._put = processors[0].put
            self.scope = self.logger.instrumentation_scope
            self._processors = processors
        return (self._put, resource) if attributes <= self._most and config.is_enabled else None


class _Thread(threading.local):
    busy = False


thread = _Thread()
"""Whether this thread is making a record right now: what is logged meanwhile, by a ``__str__``, would never end."""

_sources: dict[str, Source] = {}
_provider: Any = None
_severities: dict[int, SeverityNumber] = {}
_places: dict[tuple[str, int, str, int, str], CodeLocation] = {}
_NO_LOCATION = CodeLocation({})


def source_of(name: str, level: float) -> Source | None:
    """Return where a record of logger ``name`` goes, or None where nobody wants one of this level."""
    global _provider
    if thread.busy:
        return None
    provider = get_logger_provider()
    if provider is not _provider:
        _sources.clear()
        _provider = provider
    levels.look()
    source = _sources.get(name)
    if source is None:
        if len(_sources) >= _MOST_SOURCES:
            _sources.clear()
        source = _sources[name] = Source(name)
    return source if level >= source.threshold else None


def forget() -> None:
    """Read levels and providers anew."""
    _sources.clear()


def severity(level: int) -> SeverityNumber:
    """Map a level to a severity number: ten levels of Python are four of OpenTelemetry, INFO is 9."""
    found = _severities.get(level)
    if found is None:
        number = 1 + level // 3 if level < 10 else 5 + (level - 10) * 4 // 10
        found = SeverityNumber(max(1, min(4 if level < 10 else 24, number)))
        if len(_severities) < 100:
            _severities[level] = found
    return found


def place_of(path: str, line: int, function: str, thread_id: int, thread_name: str) -> CodeLocation:
    """Return the attributes of a place in the code and a thread; records of one place share them."""
    key = (path, line, function, thread_id, thread_name)
    place = _places.get(key)
    if place is None:
        if len(_places) >= _MOST_PLACES:
            _places.clear()
        place = _places[key] = CodeLocation(
            {
                schema.CODE_FILE_PATH.name: path,
                schema.CODE_FUNCTION_NAME.name: function,
                schema.CODE_LINE_NUMBER.name: line,
                schema.THREAD_ID.name: thread_id,
                schema.THREAD_NAME.name: thread_name,
            }
        )
    return place


def emit(
    source: Source,
    timestamp: int,
    level: int,
    level_name: str,
    body: str,
    place: CodeLocation,
    extras: dict[str, AnyValue],
    template: object,
) -> None:
    """Emit a record in the current context, or fold it into a later one.

    ``timestamp``: nanoseconds since 1970. ``extras``: attributes besides those of ``place``; they win where both have one.
    ``template``: the message before anything was put into it.
    """
    if extras and not place.attributes.keys().isdisjoint(extras):
        place, extras = _NO_LOCATION, {**place.attributes, **extras}
    folding = deduplicate.active
    if folding is None:
        send((source, timestamp, level, level_name, body, place, extras), None)
        return
    known = extras.get(schema.EXCEPTION_FINGERPRINT.name) or extras.get(schema.EXCEPTION_TYPE.name)
    text = template if isinstance(template, str) else type(template)
    folding.take((source.name, level, text, known), (source, timestamp, level, level_name, body, place, extras))


def send(arguments: deduplicate.Arguments, context: Context | None) -> None:
    """Emit a record in ``context``, None for the current one."""
    source, timestamp, level, level_name, body, place, extras = arguments
    number = _severities.get(level) or severity(level)
    way = source.way(len(place.attributes) + len(extras))
    if way is None:
        source.logger.emit(
            timestamp=timestamp,
            context=context,
            severity_number=number,
            severity_text=level_name,
            body=body,
            attributes={**place.attributes, **extras},
        )
        return
    put, resource = way
    span = get_current_span(context).get_span_context()
    put(
        LogEntry(
            timestamp,
            time_ns(),
            span.trace_id,
            span.span_id,
            span.trace_flags,
            number,
            level_name,
            body,
            place,
            extras,
            resource,
            source.scope,
        )
    )


levels.on_change.append(forget)
