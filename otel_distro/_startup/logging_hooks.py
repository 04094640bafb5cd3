"""What :mod:`logging` needs from us before the first record: names for formats, and ears for loggers that were switched off.

Called when ``logging`` is imported, in every instrumented process that does it, so nothing else is imported here.
"""

import sys

from otel_distro import settings
from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TRACE_FIELDS = {"otelTraceID": "0", "otelSpanID": "0", "otelTraceSampled": False, "otelServiceName": ""}
"""What formats of the application may name, as upstream has it, and the values outside of spans."""

wanted: "set[str]" = set()
"""Those of :data:`TRACE_FIELDS` that a format of the application names: records have them from then on."""

silenced: "set[Any]" = set()
"""Loggers that ``dictConfig`` or ``fileConfig`` switched off because they were not told of them."""

on_signal: "list[Callable[[], None]]" = []
"""Called when the signal of ``OTEL_DISTRO_LOG_DEBUG_SIGNAL`` comes."""

_state: "dict[str, Any]" = {}


def prepare(logging: "Any", activate: "Callable[[], Any]") -> None:
    """Set all this up in the module ``logging``. ``activate`` starts telemetry, when the signal comes before anything else."""
    with guard("preparing the logging module"):
        chosen = settings.OTEL_DISTRO_LOG_DEBUG_SIGNAL.get()
        if chosen != "off":
            _listen(f"SIG{chosen.upper()}", activate)
        for name in TRACE_FIELDS:
            setattr(logging.LogRecord, name, _TraceField(name))
        logging.PercentStyle.__init__ = _style(logging.PercentStyle.__init__)
        import_hooks.when_imported("logging.config", _hear_silenced)


def _listen(name: str, activate: "Callable[[], Any]") -> None:
    import _signal  # type: ignore[import-not-found]

    def heard(number: int, frame: "Any") -> None:
        with guard(f"what {name} asks for"):
            activate()
            for callback in on_signal:
                callback()

    number = getattr(_signal, name, None)
    try:
        if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, heard)
    except ValueError:
        say(f"{settings.OTEL_DISTRO_LOG_DEBUG_SIGNAL.name}: logging is first imported outside of the main thread; off")


def trace_fields() -> "dict[str, Any]":
    """Return the values of :data:`TRACE_FIELDS` for the span that is current in this thread and task."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return TRACE_FIELDS
    context = trace.get_current_span().get_span_context()
    service = _service(trace)
    if not context.is_valid:
        return {**TRACE_FIELDS, "otelServiceName": service}
    return {
        "otelTraceID": f"{context.trace_id:032x}",
        "otelSpanID": f"{context.span_id:016x}",
        "otelTraceSampled": context.trace_flags.sampled,
        "otelServiceName": service,
    }


def _service(trace: "Any") -> str:
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    if resource is None:
        return ""
    from otel_distro import schema

    return str(resource.attributes.get(schema.SERVICE_NAME.name, ""))


def for_export_only(record: "Any") -> None:
    """Hand a record to whoever listens at ``Logger.callHandlers``, and to no handler of the application."""
    ghost = _state.get("ghost")
    if ghost is None:
        import logging

        # In no hierarchy: its one handler keeps logging from falling back to stderr.
        ghost = _state["ghost"] = logging.Logger("otel_distro.ghost")  # noqa: LOG001 - on purpose
        ghost.propagate = False
        ghost.addHandler(logging.NullHandler())
    ghost.callHandlers(record)


class _TraceField:
    """A field of every record that did not get one of its own; not in its ``__dict__``, which formatters may print."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, record: "Any", owner: "Any" = None) -> "Any":
        if record is None:
            return self
        with guard("a field of a log record"):
            return trace_fields()[self._name]
        return TRACE_FIELDS[self._name]


def _style(original: "Callable[..., None]") -> "Callable[..., None]":
    def __init__(self: "Any", *args: "Any", **kwargs: "Any") -> None:  # noqa: N807 - takes its place
        original(self, *args, **kwargs)
        with guard("reading a log format"):
            named = [name for name in TRACE_FIELDS if name in self._fmt]
            if named:
                wanted.update(named)
                # For records that come past us: formats look into the record's __dict__ only, and fail.
                self._defaults = {**{name: TRACE_FIELDS[name] for name in named}, **(self._defaults or {})}

    __init__.__wrapped__ = original  # type: ignore[attr-defined]
    return __init__


def _hear_silenced(config: "Any") -> None:
    original = getattr(config, "_handle_existing_loggers", None)
    if original is None:
        return

    def handle_existing_loggers(existing: "Any", *args: "Any", **kwargs: "Any") -> None:
        loggers: list[Any] = []
        with guard("noting loggers"):
            known = config.logging.root.manager.loggerDict
            loggers = [
                logger for logger in map(known.get, list(existing)) if getattr(logger, "disabled", None) is False
            ]
        original(existing, *args, **kwargs)
        with guard("hearing loggers that were switched off"):
            for logger in loggers:
                if logger.disabled and hasattr(logger, "callHandlers"):
                    _hear(logger)

    config._handle_existing_loggers = handle_existing_loggers


def _hear(logger: "Any") -> None:
    """Let records of a logger that is off exist all the same, for export only; on again, it is what it was."""
    silenced.add(logger)
    kind = type(logger)

    def is_off() -> bool:
        if logger.disabled and logger in silenced:
            return True
        # On again: nothing of ours remains, not even a frame.
        silenced.discard(logger)
        vars(logger).pop("isEnabledFor", None)
        vars(logger).pop("handle", None)
        return False

    def is_enabled_for(level: "Any") -> bool:
        if is_off() and level > logger.manager.disable and level >= logger.getEffectiveLevel():
            return True
        return bool(kind.isEnabledFor(logger, level))

    def handle(record: "Any") -> None:
        if not is_off():
            kind.handle(logger, record)
            return
        with guard("a record of a logger that was switched off"):
            kept = logger.filter(record)
            if kept:
                for_export_only(record if kept is True else kept)

    logger.isEnabledFor = is_enabled_for
    logger.handle = handle
