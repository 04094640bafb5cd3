"""Turn a record of any logging library into a log record of OpenTelemetry.

Shared by :mod:`logging`, loguru and structlog. A record goes directly into the export queue where
that is equivalent, and through the SDK's logger where the user has added parts to the SDK.
"""

from __future__ import annotations

import threading
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current
from opentelemetry.trace import NonRecordingSpan, get_current_span, set_span_in_context

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._otel.sdk import SDK_SPAN, SPAN_KEY, SeverityNumber, get_logger_provider
from otel_distro.errors import exception_state
from otel_distro.export.log_entry import CodeLocation, LogEntry
from otel_distro.export.processors import QueueLogRecordProcessor
from otel_distro.instrumentation._logging import deduplicate, levels

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.util.types import AnyValue

_OWN = ("opentelemetry", "otel_distro")
_MAX_SOURCES = 2000
_MAX_LOCATIONS = 2000
_NEVER = float("inf")

_new_entry: Callable[[Any, tuple[Any, ...]], LogEntry] = tuple.__new__
"""The constructor of a named tuple costs twice as much."""


class Source:
    """Cached facts about one logger.

    Its OpenTelemetry logger, the lowest level that is exported, and the fast path.
    """

    __slots__ = ("_config", "_fields", "_max_attributes", "_processors", "_put", "logger", "name", "scope", "threshold")

    def __init__(self, name: str) -> None:
        self.name = name
        self.logger: Any = sdk.get_logger(name)
        # Records of OpenTelemetry itself are not exported: a failing export would feed itself.
        limit = _NEVER if name.partition(".")[0] in _OWN else levels.threshold(name)
        self.threshold: float = -_NEVER if limit is None else limit
        self._processors: Any = None
        of_sdk = type(self.logger) is sdk.Logger
        self._fields: Callable[[Any], Any] = sdk.LOGGER_FIELDS if of_sdk else lambda _: ((), None, None)

    def fast_path(self, attributes: int) -> tuple[Callable[[LogEntry], None], Any] | None:
        """Return the queue's ``put`` and the resource, or None where the SDK must emit the record.

        The SDK must where another processor was added, the logger is disabled, or a limit applies.

        Args:
            attributes: Number of attributes of the record.
        """
        processors, config, resource = self._fields(self.logger)
        if processors is not self._processors:
            if len(processors) != 1 or type(processors[0]) is not QueueLogRecordProcessor:
                return None
            max_attributes, max_length = sdk.logger_limits(self.logger)
            self._max_attributes = 0 if max_length is not None else _NEVER if max_attributes is None else max_attributes
            self._put = processors[0].put
            self.scope = self.logger.instrumentation_scope
            self._processors = processors
        return (self._put, resource) if attributes <= self._max_attributes and config.is_enabled else None


class _Thread(threading.local):
    busy = False


thread = _Thread()
"""``busy``: this thread is building a record.

Records logged meanwhile, by a ``__str__``, are not exported: they would recurse without end.
"""

_sources: dict[str, Source] = {}
_provider: Any = None
_severities: dict[int, SeverityNumber] = {}
_locations: dict[tuple[str, int, str, int, str], CodeLocation] = {}
_NO_LOCATION = CodeLocation({})


def source_of(name: str, level: float) -> Source | None:
    """Return the source of logger ``name``, or None where ``level`` is not exported."""
    global _provider
    if thread.busy:
        return None
    provider = get_logger_provider()
    if provider is not _provider:
        _sources.clear()
        _provider = provider
    levels.poll()
    source = _sources.get(name)
    if source is None:
        if len(_sources) >= _MAX_SOURCES:
            _sources.clear()
        source = _sources[name] = Source(name)
    return source if level >= source.threshold else None


def clear_cache() -> None:
    """Forget levels and providers; they are looked up at the next record."""
    _sources.clear()


def severity(level: int) -> SeverityNumber:
    """Map a level to a severity number: ten levels of Python are four numbers, INFO is 9."""
    found = _severities.get(level)
    if found is None:
        number = 1 + level // 3 if level < 10 else 5 + (level - 10) * 4 // 10
        found = SeverityNumber(max(1, min(4 if level < 10 else 24, number)))
        if len(_severities) < 100:
            _severities[level] = found
    return found


def location_of(path: str, line: int, function: str, thread_id: int, thread_name: str) -> CodeLocation:
    """Return the attributes of a code location and thread; records of one location share them."""
    key = (path, line, function, thread_id, thread_name)
    location = _locations.get(key)
    if location is None:
        if len(_locations) >= _MAX_LOCATIONS:
            _locations.clear()
        location = _locations[key] = CodeLocation(
            {
                schema.CODE_FILE_PATH.name: path,
                schema.CODE_FUNCTION_NAME.name: function,
                schema.CODE_LINE_NUMBER.name: line,
                schema.THREAD_ID.name: thread_id,
                schema.THREAD_NAME.name: thread_name,
            }
        )
    return location


def emit(
    source: Source,
    timestamp: int,
    level: int,
    level_name: str,
    body: str,
    location: CodeLocation,
    extras: dict[str, AnyValue],
    template: object,
    error: BaseException | None = None,
) -> None:
    """Emit a record in the current context, or pass it to deduplication.

    Without an active span, the record of an exception is emitted in the span that the exception
    left: a server logs the failure of a request after its span has ended.

    Args:
        source: The logger.
        timestamp: Nanoseconds since 1970.
        level: Level of :mod:`logging`.
        level_name: Its name.
        body: The message.
        location: Code location and thread.
        extras: Further attributes; they win over those of ``location``.
        template: The message before arguments were inserted.
        error: The exception that the record carries.
    """
    context = None if error is None else context_of(error)
    if extras and not location.attributes.keys().isdisjoint(extras):
        location, extras = _NO_LOCATION, {**location.attributes, **extras}
    deduplicator = deduplicate.active
    if deduplicator is None:
        send((source, timestamp, level, level_name, body, location, extras), context)
        return
    known = extras.get(schema.EXCEPTION_FINGERPRINT.name) or extras.get(schema.EXCEPTION_TYPE.name)
    text = template if isinstance(template, str) else type(template)
    deduplicator.submit(
        (source.name, level, text, known), (source, timestamp, level, level_name, body, location, extras), context
    )


def context_of(error: BaseException) -> Context | None:
    """Return a context with the span that ``error`` left.

    None if a span is active, or if it left none. A span that has ended is not active: timers and
    tasks of a server keep the context of the request in which they were created.
    """
    if get_current_span().is_recording():
        return None
    span = exception_state.span_of(error)
    return None if span is None else set_span_in_context(NonRecordingSpan(span))


def send(arguments: deduplicate.Arguments, context: Context | None) -> None:
    """Emit a record in ``context``, None for the current one."""
    source, timestamp, level, level_name, body, location, extras = arguments
    number = _severities.get(level) or severity(level)
    path = source.fast_path(len(location.attributes) + len(extras))
    if path is None:
        source.logger.emit(
            timestamp=timestamp,
            context=context,
            severity_number=number,
            severity_text=level_name,
            body=body,
            attributes={**location.attributes, **extras},
        )
        return
    put, resource = path
    put(_entry(timestamp, context, number, level_name, body, location, extras, resource, source.scope))


def send_plain(
    source: Source, created: float, level: int, level_name: str, body: str, key: Any, extras: dict[str, AnyValue]
) -> bool:
    """Do the same as :func:`emit` for a record of a place that is known, in the current context.

    ``key``: the arguments of :func:`location_of`.

    Returns:
        Whether the record was sent. If not, :func:`emit` has to send it.
    """
    location, number = _locations.get(key), _severities.get(level)
    if location is None or number is None or deduplicate.active is not None:
        return False
    path = source.fast_path(len(location.attributes) + len(extras))
    if path is None or (extras and not location.attributes.keys().isdisjoint(extras)):
        return False
    put, resource = path
    put(_entry(int(created * 1e9), None, number, level_name, body, location, extras, resource, source.scope))
    return True


def _entry(
    timestamp: int,
    context: Context | None,
    number: SeverityNumber,
    level_name: str,
    body: str,
    location: CodeLocation,
    extras: dict[str, AnyValue],
    resource: Any,
    scope: Any,
) -> LogEntry:
    around = get_current() if context is None else context
    span: Any = around.get(SPAN_KEY)
    if type(span) is not SDK_SPAN:
        span = get_current_span(around)
    # A tuple: its properties cost three times as much.
    ids = span.get_span_context()
    return _new_entry(
        LogEntry,
        (
            timestamp,
            time_ns(),
            ids[0],
            ids[1],
            ids[3],
            number,
            level_name,
            body,
            location,
            extras,
            resource,
            scope,
        ),
    )


levels.on_change.append(clear_cache)
