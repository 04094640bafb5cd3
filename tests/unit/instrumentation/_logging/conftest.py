"""A logger of the application and the instrumentor of log records."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from otel_distro.instrumentation.log_records import LogRecordsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the application, at level 1."""
    made = logging.getLogger("made.shop")
    made.propagate, made.handlers = False, [logging.NullHandler()]
    made.setLevel(1)
    yield made
    made.propagate, made.handlers = True, []
    made.setLevel(logging.NOTSET)


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Install the instrumentor."""
    LogRecordsInstrumentor().instrument()
    yield
    LogRecordsInstrumentor().uninstrument()
