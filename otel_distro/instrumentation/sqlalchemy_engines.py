"""Upstream's SQLAlchemy instrumentor, extended by the duration metric and SQLAlchemy 2.1.

Upstream makes spans only; dashboards and alerts need ``db.client.operation.duration``. Since 2.1
SQLAlchemy no longer depends on greenlet, and its asyncio part cannot be imported without it.
Upstream patches that part last and fails on it, after the other engines were instrumented.

Source: https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
"""

from __future__ import annotations

from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor as Upstream

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram

_STARTED = "_otel_distro_started"
_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""SQLAlchemy's dialect -> ``db.system.name``, if they differ."""


class SQLAlchemyInstrumentor(Upstream):
    """Replaces upstream's entry point ``sqlalchemy``."""

    def _instrument(self, **kwargs: Any) -> Any:
        """Instrument all engines; without greenlet, all but the asynchronous ones."""
        with guard("timing SQLAlchemy"):
            _time_statements()
        try:
            return super()._instrument(**kwargs)
        except ImportError:
            if find_spec("greenlet") is not None:
                raise
            return None

    def _uninstrument(self, **kwargs: Any) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for name, listener in _listeners:
            event.remove(Engine, name, listener)
        _listeners.clear()
        super()._uninstrument(**kwargs)


_listeners: list[tuple[str, Any]] = []


def _time_statements() -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    metric = schema.DB_CLIENT_DURATION
    histogram = metrics.get_meter("otel_distro.sqlalchemy", __version__).create_histogram(
        metric.name, metric.unit, metric.brief, explicit_bucket_boundaries_advisory=metric.buckets
    )

    def before(conn: Any, cursor: Any, statement: Any, parameters: Any, context: Any, executemany: Any) -> None:
        if context is not None:
            setattr(context, _STARTED, perf_counter())

    def after(conn: Any, cursor: Any, statement: Any, parameters: Any, context: Any, executemany: Any) -> None:
        with guard("timing a statement"):
            _record(histogram, conn.engine, statement, context)

    def failed(failure: Any) -> None:
        with guard("timing a failed statement"):
            _record(histogram, failure.engine, failure.statement, failure.execution_context, failure.original_exception)

    for name, listener in (
        ("before_cursor_execute", before),
        ("after_cursor_execute", after),
        ("handle_error", failed),
    ):
        event.listen(Engine, name, listener)
        _listeners.append((name, listener))


def _record(
    histogram: Histogram, engine: Any, statement: str | None, context: Any, error: BaseException | None = None
) -> None:
    started = getattr(context, _STARTED, None)
    if started is None or engine is None:
        return
    duration = perf_counter() - started
    delattr(context, _STARTED)
    dialect = engine.dialect.name
    attributes: dict[str, str | int] = {schema.DB_SYSTEM_NAME.name: _SYSTEMS.get(dialect, dialect)}
    words = (statement or "").split(None, 1)
    if words:
        attributes[schema.DB_OPERATION_NAME.name] = words[0].upper()[:20]
    if engine.url.database:
        attributes[schema.DB_NAMESPACE.name] = engine.url.database.rpartition("/")[2]
    if engine.url.host:
        attributes[schema.SERVER_ADDRESS.name] = engine.url.host
    if error is not None:
        attributes[schema.ERROR_TYPE.name] = type(error).__qualname__
    histogram.record(duration, attributes)
