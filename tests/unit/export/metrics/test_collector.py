"""Data of the checkpoint and the cardinality limit, compared with the SDK itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_distro import schema
from otel_distro._otel.cardinality import Series, most_varied
from otel_distro._otel.metrics import Flag, MetricSource
from otel_distro._otel.patch import sdk_release
from otel_distro.export.metrics.checkpoint import CounterCheckpoint
from otel_distro.export.spool.spool import open_spool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opentelemetry.sdk.metrics.export import MetricsData


def shown(data: MetricsData | None) -> dict[str, list[Any]]:
    """Return the points of each metric without times and exemplars, which differ each time."""
    found: dict[str, list[Any]] = {}
    for resource in data.resource_metrics if data is not None else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                kept = {k: v for k, v in vars(point).items() if k not in ("time_unix_nano", "exemplars")}
                found.setdefault(metric.name, []).append(kept)
    return found


@pytest.fixture
def source() -> MetricSource:
    """The metrics of a reader.

    Counters, a gauge, histograms of both kinds, and an observed counter.
    """
    reader = InMemoryMetricReader()
    views = [View(instrument_name="shop.exponential", aggregation=ExponentialBucketHistogramAggregation())]
    meter = MeterProvider([reader], views=views, shutdown_on_exit=False).get_meter("test")
    asked: list[int] = []
    meter.create_observable_counter("shop.observed", [lambda _: asked.append(1) or ()])  # type: ignore[func-returns-value]
    found = MetricSource(reader)
    counter, both = meter.create_counter("shop.orders"), meter.create_up_down_counter("shop.open")
    gauge, histogram = meter.create_gauge("shop.level"), meter.create_histogram("shop.size")
    exponential = meter.create_histogram("shop.exponential")

    def record(value: int) -> None:
        counter.add(value, {"kind": "a"})
        both.add(-value)
        gauge.set(value)
        histogram.record(value)
        exponential.record(value)

    found.record, found.asked = record, asked  # type: ignore[attr-defined]
    return found


def test_checkpoint_data_equals_the_next_collection(source: Any) -> None:
    """``recent()`` equals the next collection, before and after the first, and changes nothing."""
    for value in (3, 900, 7):
        source.record(value)
        source.record(value + 1)
        first, second = shown(source.recent(lambda: None)), shown(source.recent(lambda: None))
        assert first == second == shown(source.collect())
        assert set(first) == {"shop.orders", "shop.open", "shop.level", "shop.size", "shop.exponential"}
    # A collected value is left out, except a gauge: its last value is reported every time.
    # The SDK before 1.45 leaves it out, too.
    assert set(shown(source.recent(lambda: None))) == ({"shop.level"} if sdk_release() >= (1, 45) else set())
    assert source.asked == []


def test_watch_calls_back_once_until_the_flag_is_lowered(source: Any) -> None:
    """The callback runs at the first measurement, and again only once the flag was lowered."""
    flag, woken = Flag(), []
    source.watch(flag, lambda: woken.append(1))
    source.record(1)
    source.record(2)
    assert (flag.up, len(woken)) == (True, 1)
    flag.up = False
    source.record(3)
    assert len(woken) == 2
    assert shown(source.collect())["shop.orders"][0]["value"] == 6


def test_most_varied_returns_the_attribute_with_most_values() -> None:
    """The reported attribute is the one with the most distinct values, of any type."""
    attributes: list[Mapping[str, Any]] = [{"a": 1, "b": [number]} for number in range(3)]
    assert most_varied([*attributes, {}]) == "b"
    assert most_varied([]) == ""


def test_cardinality_limit_of_observed_counter_keeps_the_sum() -> None:
    """Observed sums are limited too, stay exact at each collection, and one message is printed."""
    script = """
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_distro._otel.cardinality import limit_cardinality
limit_cardinality()
reader = InMemoryMetricReader(**limit_cardinality())
meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
meter.create_observable_counter("shop.seen", [lambda _: [Observation(2, {"user": str(n)}) for n in range(50)]])
for _ in range(2):
    points = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    print(len(points), sum(point.value for point in points))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"OTEL_DISTRO_CARDINALITY_LIMIT": "5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "5 100\n5 100\n")
    assert ended.stderr.count("shop.seen has more than 4 series because of its attribute user") == 1
    assert ended.stderr.count("\n") == 1


def test_series_below_the_limit_is_a_dictionary() -> None:
    """A missing key raises KeyError, as in any dictionary."""
    series = Series("shop.seen", 10)
    with pytest.raises(KeyError):
        series["x"]
    assert schema.METRIC_OVERFLOW.name == "otel.metric.overflow"


def checkpoint(folder: Path, **environ: str) -> CounterCheckpoint:
    """Return the checkpoint of a process whose state is in ``folder``."""
    return CounterCheckpoint(open_spool({"XDG_STATE_HOME": str(folder), **environ}, "key", "shop").store)


def segments(folder: Path) -> list[Path]:
    """Return the segments in ``folder``."""
    return sorted(folder.rglob("*.seg"))


def test_checkpoint_written_many_times_keeps_only_the_newest(tmp_path: Path) -> None:
    """One file of bounded size holds one valid body, the newest, until a collection drops it."""
    last = checkpoint(tmp_path)
    for number in range(200):
        last.write(str(number).encode() * 2000, number)
        assert len(segments(tmp_path)) == 1
        assert segments(tmp_path)[0].stat().st_size < 300 * 1024
    sibling = open_spool({"XDG_STATE_HOME": str(tmp_path)}, "key", "sibling")
    assert not sibling.adopt()
    last.reset_after_fork()
    assert sibling.adopt()
    batch = sibling.lease("metrics", 1 << 20)
    assert batch is not None
    assert (batch.body, batch.count) == (b"199" * 2000, 199)
    last.write(b"x", 1)
    last.drop()
    last.drop()
    sibling.acknowledge(batch)
    assert not segments(tmp_path)


def test_checkpoint_opened_early_writes_to_that_file(tmp_path: Path) -> None:
    """The file that is opened early takes the first body, and is deleted with it."""
    last = checkpoint(tmp_path)
    last.open()
    prepared = segments(tmp_path)
    last.open()
    last.write(b"1", 1)
    assert len(prepared) == 1
    assert segments(tmp_path) == prepared
    last.drop()
    assert not segments(tmp_path)


def test_checkpoint_without_space_keeps_nothing_and_never_raises(tmp_path: Path) -> None:
    """Without a spool, with a full one and after a disk error nothing is kept or raised."""
    off = checkpoint(tmp_path, OTEL_DISTRO_SPOOL="off")
    off.open()
    off.write(b"x", 1)
    assert (off.possible, off.wanted) == (False, False)
    small = checkpoint(tmp_path, OTEL_DISTRO_SPOOL_MAX_BYTES="4096")
    small.open()
    small.write(b"x" * 8000, 1)
    assert not small.wanted
    small.drop()
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    refusing = checkpoint(tmp_path / "file")
    assert refusing.wanted
    refusing.open()
    refusing.write(b"x", 1)
    assert not refusing.wanted
    assert not segments(tmp_path)
