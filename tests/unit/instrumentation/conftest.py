"""Fixtures of the instrumentors of HTTP servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_distro.instrumentation._http_server import instruments, options

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stable_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Record by stable names, with the settings and the providers of the test."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    monkeypatch.setattr(instruments, "_made", None)
    options.reload_settings()
    yield
    options.reload_settings()


@pytest.fixture
def starlette_and_fastapi(stable_names: None) -> Iterator[None]:
    """Instrument Starlette and FastAPI, and leave them as they were."""
    from otel_distro.instrumentation.starlette_apps import FastAPIInstrumentor, StarletteInstrumentor

    StarletteInstrumentor().instrument()
    FastAPIInstrumentor().instrument()
    yield
    FastAPIInstrumentor().uninstrument()
    StarletteInstrumentor().uninstrument()
