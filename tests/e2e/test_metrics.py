"""Metrics of a program that is killed, has too many series, or has callbacks that hang or fail."""

from __future__ import annotations

import signal
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema
from tests.support.receiver import instance

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Point, Receiver


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_metrics_of_a_killed_program_are_delivered_exactly_once(
    launcher: Launcher, receiver: Receiver, temporality: str
) -> None:
    """The next program delivers the values of a killed program and its child exactly once."""
    killed = launcher.run("numbers_at_risk.py", "child", OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=temporality)
    assert (killed.returncode, killed.stdout, killed.diagnostics()) == (-signal.SIGKILL, "counted\ncounted\n", [])
    assert _sum(receiver, "shop.orders", temporality) == 1000
    later = launcher.serve("idle.py", OTEL_DISTRO_PROCESS_METRICS_DELAY="0.1")
    receiver.wait_for(lambda r: _sum(r, "shop.orders", temporality) >= 1570)
    assert later.stop() is not None
    assert _sum(receiver, "shop.orders", temporality) == _sum(receiver, "shop.size", temporality) == 1570
    by_series: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for point in receiver.points():
        by_series[point.name, instance(point), repr(sorted(point.attributes.items()))].append(point)
    for points in by_series.values():
        assert [point.time for point in points] == sorted(point.time for point in points)
    # The checkpoint file is removed once a collection has reported its values.
    assert not list(launcher.folder.rglob("*.metrics.seg"))


def _sum(receiver: Receiver, name: str, temporality: str) -> float:
    if temporality == "cumulative":
        return receiver.total(name)
    return sum(point.value for point in receiver.points(name))


def test_metrics_series_limit_and_callback_failures_are_contained(launcher: Launcher, receiver: Receiver) -> None:
    """Series beyond the limit are counted together; a bad callback costs its own metric only.

    One line on stderr names each.
    """
    # The number of host series depends on network interfaces and file systems.
    ended = launcher.run(
        "numbers_at_risk.py", "bounds", OTEL_DISTRO_CARDINALITY_LIMIT="10", OTEL_DISTRO_HOST_METRICS="false"
    )
    assert (ended.returncode, ended.stdout) == (0, "True 1\nasked again\n")
    assert receiver.total("shop.orders") == 100
    series = receiver.series("shop.orders")
    assert len(series) == 10
    assert [point.value for point in series if point.attributes == {schema.METRIC_OVERFLOW.name: True}] == [91]
    assert receiver.total("shop.fine") == 7
    assert receiver.points("shop.hangs")
    assert not receiver.points("shop.fails")
    lines = ended.diagnostics()
    assert len(lines) == 3
    assert "shop.orders has more than 9 series because of its attribute user.id" in lines[0]
    assert "shop.hangs does not return after" in lines[1] or "shop.hangs does not return after" in lines[2]
    assert "shop.fails failed: ValueError: no such table" in "".join(lines)
