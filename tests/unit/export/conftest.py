"""A real server, and pipelines that send to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._runtime import diagnostics
from otel_distro.export.build import assemble, report_to
from tests.support.otlp_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_distro.export.pipeline import Pipeline


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that accepts everything until a test changes its answers."""
    with Server() as running:
        yield running


@pytest.fixture
def start(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pipeline]]:
    """Starts pipelines to ``server`` that send after a minute; they end with the test."""
    monkeypatch.setattr(diagnostics, "_last", {})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.endpoint)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    started: list[Pipeline] = []

    def start(*, signals: tuple[str, ...] = ("traces",), meter: Any = None, **environ: str) -> Pipeline:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        pipeline, _ = assemble(signals, "shop")
        if meter is not None:
            report_to(pipeline, meter)
        started.append(pipeline)
        pipeline.start()
        return pipeline

    yield start
    server.closing.set()
    for pipeline in started:
        pipeline.finish(5)
