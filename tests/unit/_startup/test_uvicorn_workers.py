"""A worker that has never answered has more time; one that has answered has none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_distro._startup import uvicorn_workers


class Process:
    """A worker that answers as its test says."""

    answers = True

    def ping(self, timeout: float = 5) -> bool:
        """Return whether it answers."""
        assert timeout
        return self.answers


@pytest.fixture
def worker() -> Process:
    """A worker of a patched class."""
    made = type("Process", (Process,), {"ping": Process.ping})
    uvicorn_workers.patch(SimpleNamespace(Process=made))
    worker: Process = made()
    return worker


def test_worker_that_never_answered_is_alive_for_half_a_minute(
    worker: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that it is killed as without telemetry."""
    worker.answers = False
    assert worker.ping(timeout=1)
    later = vars(worker)[uvicorn_workers._FIRST_PING] + uvicorn_workers._MORE_TIME_S + 1
    monkeypatch.setattr(uvicorn_workers, "time", SimpleNamespace(monotonic=lambda: later))
    assert not worker.ping()


def test_worker_that_stops_answering_is_not_alive(worker: Process) -> None:
    """More time is only for the start."""
    assert worker.ping()
    worker.answers = False
    assert not worker.ping()


def test_release_of_uvicorn_without_the_method_stays_as_it_is() -> None:
    """Nothing is patched."""
    module = SimpleNamespace(Process=object)
    uvicorn_workers.patch(module)
    assert module.Process is object
