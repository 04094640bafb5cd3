"""Settings of requests, as the distribution's defaults have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_distro.instrumentation._http_server import options

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def settings_of_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the settings that a test makes, and not those of another test."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    options.reload_settings()
    yield
    options.reload_settings()
