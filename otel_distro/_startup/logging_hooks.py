"""Hooks in :mod:`logging`: fields for formats, and loggers that ``dictConfig`` disables.

Used in every instrumented process that imports :mod:`logging`, so it imports next to nothing.
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
"""Fields that formats may name, as in upstream, with their values outside of spans."""

wanted: "set[str]" = set()
"""Those of :data:`TRACE_FIELDS` that a format of the application names: records get these."""

silenced: "set[Any]" = set()
"""Loggers that ``dictConfig`` or ``fileConfig`` disabled because their configuration lacks them."""

on_signal: "list[Callable[[], None]]" = []
"""Called on the signal of ``OTEL_DISTRO_LOG_DEBUG_SIGNAL``."""


class _ExportOnly:
    """The logger that passes records to export and to no handler of the application.

    Made on first use.
    """

    __slots__ = ("logger",)

    def __init__(self) -> None:
        self.logger: Any = None


_export_only = _ExportOnly()


def prepare(logging: "Any", activate: "Callable[[], Any]") -> None:
    """Install the hooks.

    Args:
        logging: The module.
        activate: Starts telemetry; called when the signal comes first.
    """
    with guard("preparing the logging module"):
        chosen = settings.OTEL_DISTRO_LOG_DEBUG_SIGNAL.get()
        if chosen != "off":
            _install_signal_handler(f"SIG{chosen.upper()}", activate)
        for name in TRACE_FIELDS:
            setattr(logging.LogRecord, name, _TraceField(name))
        logging.PercentStyle.__init__ = _style(logging.PercentStyle.__init__)
        import_hooks.when_imported("logging.config", _follow_disabled_loggers)


def _install_signal_handler(name: str, activate: "Callable[[], Any]") -> None:
    import _signal  # type: ignore[import-not-found]

    def handler(number: int, frame: "Any") -> None:
        with guard(f"the action of {name}"):
            activate()
            for callback in on_signal:
                callback()

    number = getattr(_signal, name, None)
    try:
        if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
            _signal.signal(number, handler)
    except ValueError:
        say(
            f"{settings.OTEL_DISTRO_LOG_DEBUG_SIGNAL.name} has no effect in this process, because logging was first imported "
            "outside of the main thread; import it in the main thread",
            code="OD120",
        )


def trace_fields(context: "Any" = None) -> "dict[str, Any]":
    """Return the values of :data:`TRACE_FIELDS` for the span of a context."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return TRACE_FIELDS
    span = trace.get_current_span(context).get_span_context()
    service = _service(trace)
    if not span.is_valid:
        return {**TRACE_FIELDS, "otelServiceName": service}
    return {
        "otelTraceID": f"{span.trace_id:032x}",
        "otelSpanID": f"{span.span_id:016x}",
        "otelTraceSampled": span.trace_flags.sampled,
        "otelServiceName": service,
    }


def _service(trace: "Any") -> str:
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    if resource is None:
        return ""
    from otel_distro import schema

    return str(resource.attributes.get(schema.SERVICE_NAME.name, ""))


def for_export_only(record: "Any") -> None:
    """Pass a record to the instrumentation of ``Logger.callHandlers`` only, not to handlers."""
    logger = _export_only.logger
    if logger is None:
        import logging

        # Outside of the hierarchy: its one handler keeps logging from falling back to stderr.
        logger = _export_only.logger = logging.Logger("otel_distro.export_only")  # noqa: LOG001 - on purpose
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
    logger.callHandlers(record)


class _TraceField:
    """A field of all records, on the class: formatters may print the ``__dict__`` of a record."""

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
                # For records that are not instrumented: a format reads the __dict__ of the record, and fails.
                self._defaults = {**{name: TRACE_FIELDS[name] for name in named}, **(self._defaults or {})}

    __init__.__wrapped__ = original  # type: ignore[attr-defined]
    return __init__


def _follow_disabled_loggers(config: "Any") -> None:
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
        with guard("following disabled loggers"):
            for logger in loggers:
                if logger.disabled and hasattr(logger, "callHandlers"):
                    _export_disabled(logger)

    config._handle_existing_loggers = handle_existing_loggers


def _export_disabled(logger: "Any") -> None:
    """Export the records of a disabled logger without printing them, until it is enabled again."""
    silenced.add(logger)
    kind = type(logger)

    def is_off() -> bool:
        if logger.disabled and logger in silenced:
            return True
        # Enabled again: remove the replacements, so that not even a frame remains.
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
        with guard("a record of a disabled logger"):
            kept = logger.filter(record)
            if kept:
                for_export_only(record if kept is True else kept)

    logger.isEnabledFor = is_enabled_for
    logger.handle = handle
