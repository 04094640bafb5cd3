"""The end of a process whose collector is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_distro.export import last_delivery
from otel_distro.export.assembly import deliveries, targets
from otel_distro.export.spool import open_spool
from tests.unit.export.items import span_names
from tests.unit.export.server import http
from tests.unit.export.test_pipeline import put, server, start

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from otel_distro.export.pipeline import Pipeline
    from tests.unit.export.server import Server

__all__ = ["server", "start"]


@pytest.mark.parametrize(
    ("answer_time", "budget", "longest", "expected"),
    [
        (0.0, 2.0, 4.5, 2.0),
        (0.1, 2.0, 4.5, 2.0),
        (4.0, 2.0, 4.5, 4.4),
        (10.0, 2.0, 4.5, 2.0),
        (4.0, 2.0, 0.0, 2.0),
        (4.0, 30.0, 4.5, 30.0),
    ],
    ids=["never heard", "fast", "slow", "slower than any use", "a time that the user has set", "a long one"],
)
def test_patience(answer_time: float, budget: float, longest: float, expected: float) -> None:
    """Only a collector whose answer can be waited for is given more than the budget."""
    made = deliveries(targets({}), open_spool({"OTEL_DISTRO_SPOOL": "off"}, "key", "shop"))
    made["traces"].link.answer_time = answer_time
    assert last_delivery.patience(made.values(), budget, longest) == pytest.approx(expected)


def test_rest_does_not_wait_for_the_answer_to_what_is_under_way(
    server: Server, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow collector that is at a request when the process ends gets what came meanwhile beside it; nothing comes twice."""
    monkeypatch.setattr(last_delivery, "_SLOW", 0.0)

    def when_the_next_is_there(connection: socket.socket) -> None:
        server.wait_for(3)
        connection.sendall(http())

    pipeline = start(OTEL_BSP_SCHEDULE_DELAY="1")
    put(pipeline, "a")
    assert pipeline.flush(60)
    server.answers[:] = [when_the_next_is_there, http()]
    put(pipeline, "b")
    server.wait_for(2)
    put(pipeline, "c")
    pipeline.finish(60)
    assert span_names(server.requests) == ["a", "b", "c"]
    assert pipeline.spool.pending() == {}
