"""Trace and span id in what the application prints itself, for loggers that have no format fields of ours.

Formats of :mod:`logging` name ``%(otelTraceID)s``, ``%(otelSpanID)s``, ``%(otelTraceSampled)s`` and ``%(otelServiceName)s``
and need nothing else. For the others:

.. code-block:: python

    structlog.configure(processors=[correlation.structlog_processor, structlog.processors.JSONRenderer()])

    logger.configure(patcher=correlation.loguru_patcher)  # loguru
    logger.add(sys.stderr, format="{extra[otelTraceID]} {message}")

Both work, with zeros, where no telemetry runs, and neither is sent as an attribute: exported records have the ids anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._startup.logging_hooks import trace_fields

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["loguru_patcher", "structlog_processor"]


def structlog_processor(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add the four fields to an event of structlog; keys that it has already stay as they are. Never raises."""
    for name, value in trace_fields().items():
        event_dict.setdefault(name, value)
    return event_dict


def loguru_patcher(record: Any) -> None:
    """Add the four fields to ``record["extra"]`` of loguru; keys that it has already stay as they are. Never raises."""
    for name, value in trace_fields().items():
        record["extra"].setdefault(name, value)
