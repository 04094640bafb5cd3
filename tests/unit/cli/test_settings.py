"""``otel-distro settings`` and docs/settings.md agree with the table of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_distro.cli.settings import main, markdown
from otel_distro.settings import settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_settings_page_equals_the_table() -> None:
    """docs/settings.md ends with the table of `otel-distro settings --markdown`."""
    assert PAGE.read_text(encoding="utf-8").endswith(markdown())


def test_settings_command_shows_values_and_bad_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each setting is shown with its value, except keys; a bad value gives the reason and 1."""
    for setting in settings():
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("OTEL_DISTRO_SPOOL_MAX_BYTES", "1000")
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_KEY", "open sesame")
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "OTEL_DISTRO_SPOOL_MAX_BYTES = 1000\n    whole number, default 268435456\n" in said
    assert "OTEL_DISTRO_AUDIT_KEY = (set, not shown)" in said
    assert "sesame" not in said
    assert all(f"{setting.name}" in said for setting in settings())
    monkeypatch.setenv("OTEL_DISTRO_EXIT_TIMEOUT", "soon")
    assert main([]) == 1
    assert "OTEL_DISTRO_EXIT_TIMEOUT = soon   <- is not a number of seconds of 0 or more" in capsys.readouterr().out
