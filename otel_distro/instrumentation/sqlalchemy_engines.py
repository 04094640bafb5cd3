"""Upstream's SQLAlchemy instrumentor, for SQLAlchemy 2.1 too.

Since 2.1 SQLAlchemy no longer brings greenlet, without which its asyncio half cannot be imported. Upstream patches that
half last and fails on it, when the other engines are instrumented already.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor as Upstream


class SQLAlchemyInstrumentor(Upstream):
    """Takes the place of upstream's entry point ``sqlalchemy``."""

    def _instrument(self, **kwargs: Any) -> Any:
        """Instrument what can be used: all engines, or all but the asynchronous ones where greenlet is missing."""
        try:
            return super()._instrument(**kwargs)
        except ImportError:
            if find_spec("greenlet") is not None:
                raise
            return None
