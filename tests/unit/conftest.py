"""Fixtures: the error tracking instrumentor, installed over hooks of the application."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro.errors import deferred, first_seen
from otel_distro.instrumentation.error_tracking import ErrorTrackingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the calls of the application's hooks, which are installed before the instrumentor."""
    calls: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: calls.append(args))
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: calls.append(unraisable.exc_value))
    monkeypatch.setattr(threading, "excepthook", lambda args: calls.append(args.exc_value))
    return calls


@pytest.fixture
def instrumented(telemetry: Telemetry, hooks: list[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install error tracking in a process that has seen no error yet."""
    monkeypatch.setattr(first_seen, "_known", {})
    ErrorTrackingInstrumentor().instrument()
    yield
    ErrorTrackingInstrumentor().uninstrument()
    deferred.drain()
