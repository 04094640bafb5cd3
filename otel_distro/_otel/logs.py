"""The logs signal: public classes in modules that OpenTelemetry still names with an underscore.

Each name is imported when it is first used. Where neither the modules of today nor those without
the underscore have it, :mod:`otel_distro._otel.no_logs` takes its place: log records are then
dropped, and traces and metrics are exported as usual.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_distro._runtime.import_hooks import without_trampoline

if TYPE_CHECKING:
    from opentelemetry._logs import SeverityNumber as SeverityNumber
    from opentelemetry._logs import get_logger as get_logger
    from opentelemetry._logs import get_logger_provider as get_logger_provider
    from opentelemetry._logs import set_logger_provider as set_logger_provider
    from opentelemetry.sdk._logs import Logger as Logger
    from opentelemetry.sdk._logs import LoggerProvider as LoggerProvider
    from opentelemetry.sdk._logs import LogRecordLimits as LogRecordLimits
    from opentelemetry.sdk._logs import LogRecordProcessor as LogRecordProcessor
    from opentelemetry.sdk._logs import ReadableLogRecord as ReadableLogRecord
    from opentelemetry.sdk._logs import ReadWriteLogRecord as ReadWriteLogRecord
    from opentelemetry.sdk._logs import SynchronousMultiLogRecordProcessor as SynchronousMultiLogRecordProcessor
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor as BatchLogRecordProcessor
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter as InMemoryLogRecordExporter
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor as SimpleLogRecordProcessor

API = ("opentelemetry._logs", "opentelemetry.logs")
SDK = ("opentelemetry.sdk._logs", "opentelemetry.sdk.logs")
EXPORT = ("opentelemetry.sdk._logs.export", "opentelemetry.sdk.logs.export")

NAMES = {
    "SeverityNumber": API,
    "get_logger": API,
    "get_logger_provider": API,
    "set_logger_provider": API,
    "Logger": SDK,
    "LoggerProvider": SDK,
    "LogRecordLimits": SDK,
    "LogRecordProcessor": SDK,
    "ReadableLogRecord": SDK,
    "ReadWriteLogRecord": SDK,
    "SynchronousMultiLogRecordProcessor": SDK,
    "BatchLogRecordProcessor": EXPORT,
    "InMemoryLogRecordExporter": EXPORT,
    "SimpleLogRecordProcessor": EXPORT,
}
"""Name -> modules to look for it, in this order."""


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from otel_distro._otel import patches

    found = _imported(name) if patches.LOGS.on else getattr(import_module("otel_distro._otel.no_logs"), name)
    globals()[name] = found
    return found


def _imported(name: str) -> Any:
    for module in NAMES[name]:
        try:
            found = getattr(import_module(module), name)
            # Called for each record: not the trampoline that stands for it while telemetry starts.
            return without_trampoline(found) if name == "get_logger_provider" else found
        except (ImportError, AttributeError):
            continue
    raise AttributeError(name)


def verify(_: object) -> None:
    """Raise ``AttributeError`` if there are names that no module has."""
    lost = []
    for name in NAMES:
        try:
            _imported(name)
        except AttributeError:
            lost.append(name)
    if lost:
        raise AttributeError(", ".join(lost))
