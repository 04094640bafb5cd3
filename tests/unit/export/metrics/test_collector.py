"""What is kept between two collections, and the limit on series, against the SDK itself."""

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
    """Return the points of each metric without what differs between two collections: times and exemplars."""
    found: dict[str, list[Any]] = {}
    for resource in data.resource_metrics if data is not None else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                kept = {k: v for k, v in vars(point).items() if k not in ("time_unix_nano", "exemplars")}
                found.setdefault(metric.name, []).append(kept)
    return found


@pytest.fixture
def source() -> MetricSource:
    """A reader's metrics: a counter, a gauge, an up-down counter and histograms of both kinds, and an observed one."""
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


def test_recent_is_what_the_next_collection_tells(source: Any) -> None:
    """Before and after a first collection, what is kept equals what the SDK tells next; asking again changes nothing."""
    for value in (3, 900, 7):
        source.record(value)
        source.record(value + 1)
        first, second = shown(source.recent(lambda: None)), shown(source.recent(lambda: None))
        assert first == second == shown(source.collect())
        assert set(first) == {"shop.orders", "shop.open", "shop.level", "shop.size", "shop.exponential"}
    # What a collection has told is left out, except for what has no sum: its last value is told every time.
    # Before 1.45 the SDK does not.
    assert set(shown(source.recent(lambda: None))) == ({"shop.level"} if sdk_release() >= (1, 45) else set())
    assert source.asked == []


def test_flag_is_raised_once(source: Any) -> None:
    """Whoever watches is woken at the first record, and again only once the flag was put down."""
    flag, woken = Flag(), []
    source.watch(flag, lambda: woken.append(1))
    source.record(1)
    source.record(2)
    assert (flag.up, len(woken)) == (True, 1)
    flag.up = False
    source.record(3)
    assert len(woken) == 2
    assert shown(source.collect())["shop.orders"][0]["value"] == 6


def test_most_varied() -> None:
    """The attribute to blame is the one with the most different values, of whatever type."""
    attributes: list[Mapping[str, Any]] = [{"a": 1, "b": [number]} for number in range(3)]
    assert most_varied([*attributes, {}]) == "b"
    assert most_varied([]) == ""


def test_series_beyond_the_limit_of_observed_metrics() -> None:
    """Observed sums are bounded, too, and stay exact at each collection; the line is said once."""
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


def test_series_without_overflow_is_a_dictionary() -> None:
    """What was never put in is missing, as in any dictionary."""
    series = Series("shop.seen", 10)
    with pytest.raises(KeyError):
        series["x"]
    assert schema.METRIC_OVERFLOW.name == "otel.metric.overflow"


def numbers(folder: Path, **environ: str) -> CounterCheckpoint:
    """Return the last numbers of a process whose state lies in ``folder``."""
    return CounterCheckpoint(open_spool({"XDG_STATE_HOME": str(folder), **environ}, "key", "shop").store)


def segments(folder: Path) -> list[Path]:
    """Return the segments that lie in ``folder``."""
    return sorted(folder.rglob("*.seg"))


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    """However often numbers are kept, one file of bounded size has them, and one body of it waits; told ones are gone."""
    last = numbers(tmp_path)
    for number in range(200):
        last.keep(str(number).encode() * 2000, number)
        assert len(segments(tmp_path)) == 1
        assert segments(tmp_path)[0].stat().st_size < 300 * 1024
    sibling = open_spool({"XDG_STATE_HOME": str(tmp_path)}, "key", "sibling")
    assert not sibling.adopt()
    last.forget()
    assert sibling.adopt()
    batch = sibling.next("metrics", 1 << 20)
    assert batch is not None
    assert (batch.body, batch.count) == (b"199" * 2000, 199)
    last.keep(b"x", 1)
    last.drop()
    last.drop()
    sibling.done(batch)
    assert not segments(tmp_path)


def test_prepared_file_is_used(tmp_path: Path) -> None:
    """What is opened beforehand is one file, the first numbers go into it, and nothing of it is left in the end."""
    last = numbers(tmp_path)
    last.prepare()
    prepared = segments(tmp_path)
    last.prepare()
    last.keep(b"1", 1)
    assert len(prepared) == 1
    assert segments(tmp_path) == prepared
    last.drop()
    assert not segments(tmp_path)


def test_kept_nowhere(tmp_path: Path) -> None:
    """Without a spool, with a full one and on a disk that refuses nothing is kept, and nothing is raised."""
    off = numbers(tmp_path, OTEL_DISTRO_SPOOL="off")
    off.prepare()
    off.keep(b"x", 1)
    assert (off.possible, off.wanted) == (False, False)
    small = numbers(tmp_path, OTEL_DISTRO_SPOOL_BYTES="4096")
    small.prepare()
    small.keep(b"x" * 8000, 1)
    assert not small.wanted
    small.drop()
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    refusing = numbers(tmp_path / "file")
    assert refusing.wanted
    refusing.prepare()
    refusing.keep(b"x", 1)
    assert not refusing.wanted
    assert not segments(tmp_path)
