"""Add trace and span id to lines that the application prints with structlog or loguru.

Formats of :mod:`logging` need nothing of this module: they can name ``%(otelTraceID)s``,
``%(otelSpanID)s``, ``%(otelTraceSampled)s`` and ``%(otelServiceName)s``.

.. code-block:: python

    structlog.configure(
        processors=[correlation.structlog_processor, structlog.processors.JSONRenderer()]
    )

    logger.configure(patcher=correlation.loguru_patcher)  # loguru
    logger.add(sys.stderr, format="{extra[otelTraceID]} {message}")

The fields are ``otelTraceID`` (32 hexadecimal digits), ``otelSpanID`` (16), ``otelTraceSampled``
(bool) and ``otelServiceName``. Outside of spans, and without telemetry, the ids are ``"0"`` and the
flag is False; without telemetry the service name is empty. The fields are not exported as
attributes: exported records have the ids anyway. Docs: docs/logs.md.
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
    """Add the four fields to an event of structlog. Existing keys are kept.

    Args:
        logger: Not used; structlog passes it.
        method_name: Not used; structlog passes it.
        event_dict: The event, which is changed in place.

    Returns:
        ``event_dict``.

    Raises:
        Nothing.

    Example:
        >>> from otel_distro import correlation
        >>> correlation.structlog_processor(None, "info", {"event": "paid"})["otelSpanID"]
        '0'
    """
    for name, value in trace_fields().items():
        event_dict.setdefault(name, value)
    return event_dict


def loguru_patcher(record: Any) -> None:
    """Add the four fields to ``record["extra"]`` of loguru. Existing keys are kept.

    Args:
        record: The record dictionary of loguru, which is changed in place.

    Raises:
        Nothing.

    Example:
        >>> from otel_distro import correlation
        >>> record = {"extra": {}}
        >>> correlation.loguru_patcher(record)
        >>> record["extra"]["otelTraceID"]
        '0'
    """
    for name, value in trace_fields().items():
        record["extra"].setdefault(name, value)
