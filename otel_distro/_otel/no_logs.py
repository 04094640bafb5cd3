"""Stand-ins for the logs signal where OpenTelemetry has moved it: they drop every record."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_NAMES = [f"{level}{number or ''}" for level in _LEVELS for number in (0, 2, 3, 4)]

SeverityNumber: Any = IntEnum("SeverityNumber", "UNSPECIFIED " + " ".join(_NAMES), start=0)  # type: ignore[misc]


class _Inert:
    """Accepts any arguments; every method does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None


class Logger(_Inert):
    """Drops records."""

    instrumentation_scope: Any = None


class LoggerProvider(_Inert):
    """Makes loggers that drop records."""

    def get_logger(self, *args: Any, **kwargs: Any) -> Logger:
        """Return a logger that drops records."""
        return Logger()

    def force_flush(self, *args: Any, **kwargs: Any) -> bool:
        """Return that nothing is queued."""
        return True

    def _update_resource(self, resource: Any) -> None:
        """Do nothing."""


class LogRecordProcessor(_Inert):
    """Base class of processors."""


class SynchronousMultiLogRecordProcessor(_Inert):
    """Has no processors."""


class BatchLogRecordProcessor(LogRecordProcessor):
    """Exports nothing."""


class SimpleLogRecordProcessor(LogRecordProcessor):
    """Exports nothing."""


class ReadableLogRecord(_Inert):
    """A record."""


class ReadWriteLogRecord(_Inert):
    """A record."""


class LogRecordLimits(_Inert):
    """No limits."""

    max_log_record_attributes: int | None = None
    max_log_record_attribute_length: int | None = None


class InMemoryLogRecordExporter(_Inert):
    """Keeps nothing."""

    def get_finished_logs(self) -> tuple[Any, ...]:
        """Return no records."""
        return ()


_provider = LoggerProvider()


def get_logger(*args: Any, **kwargs: Any) -> Logger:
    """Return a logger that drops records."""
    return Logger()


def get_logger_provider() -> LoggerProvider:
    """Return the one provider, which drops records."""
    return _provider


def set_logger_provider(provider: Any) -> None:
    """Do nothing: there is one provider."""
