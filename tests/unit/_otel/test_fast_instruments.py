"""Numbers added directly to the series give what the SDK gives."""

from __future__ import annotations

import inspect
import logging
import random
import subprocess
import sys
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    ExemplarFilter,
    Histogram,
    MeterProvider,
    SimpleFixedSizeExemplarReservoir,
    TraceBasedExemplarFilter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_distro._otel import sdk
from otel_distro._otel.fast_measurements import SampledSpanExemplarFilter
from otel_distro._otel.metric_patches import FAST_INSTRUMENTS
from otel_distro._otel.metrics import Flag, MetricSource
from otel_distro._otel.patch import sdk_release
from otel_distro._otel.safe_api import install_safe_api
from otel_distro.export.processors import QueueSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

if sdk_release() < FAST_INSTRUMENTS.since:
    pytest.skip("the patch is off on this release, by its `since`", allow_module_level=True)

install_safe_api(QueueSpanProcessor)

METHODS = {"counter": "add", "both": "add", "histogram": "record", "exponential": "record", "level": "set"}
DELTA = dict.fromkeys((Counter, UpDownCounter, Histogram), AggregationTemporality.DELTA)
SPANS = (
    trace.INVALID_SPAN,
    TracerProvider(shutdown_on_exit=False).get_tracer("app").start_span("sampled"),
    TracerProvider(sampling.ALWAYS_OFF, shutdown_on_exit=False).get_tracer("app").start_span("not sampled"),
    NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))),
)


class Meters:
    """A provider with one instrument of each kind, and one or more readers."""

    def __init__(
        self,
        exemplars: ExemplarFilter | None = None,
        *,
        readers: int = 1,
        views: Sequence[View] = (),
        temporality: dict[type, AggregationTemporality] | None = None,
    ) -> None:
        self.readers = [InMemoryMetricReader(preferred_temporality=temporality) for _ in range(readers)]
        self.provider = MeterProvider(
            self.readers,
            views=views,
            shutdown_on_exit=False,
            exemplar_filter=exemplars or SampledSpanExemplarFilter(),
        )
        meter = self.provider.get_meter("app")
        self.instruments: dict[str, Any] = {
            "counter": meter.create_counter("counter"),
            "both": meter.create_up_down_counter("both"),
            "histogram": meter.create_histogram("histogram"),
            "exponential": meter.create_histogram("exponential"),
            "level": meter.create_gauge("level"),
        }

    def record(self, name: str, amount: Any, attributes: Any = None, context: Any = None) -> None:
        """Call the method of the instrument of this name."""
        getattr(self.instruments[name], METHODS[name])(amount, attributes, context)

    def record_by_sdk(self, name: str, amount: Any, attributes: Any = None, context: Any = None) -> None:
        """Call the method that the SDK defines."""
        instrument = self.instruments[name]
        inspect.unwrap(getattr(type(instrument), METHODS[name]))(instrument, amount, attributes, context)

    def points(self) -> list[tuple[str, str, str]]:
        """Collect for all readers; return each point without its times."""
        return [
            (metric.name, type(metric.data).__name__, shown(point))
            for reader in self.readers
            for resource in getattr(reader.get_metrics_data(), "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]

    def values(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Collect for the first reader; return attributes and values of the points of a metric."""
        data: Any = self.readers[0].get_metrics_data()
        return [
            (dict(point.attributes), point.value)
            for scope in data.resource_metrics[0].scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def quick(self, name: str) -> int:
        """Return in how many combinations of attributes an instrument takes the short way."""
        known = vars(self.instruments[name]).get(sdk.SERIES_CACHE)
        return 0 if known is None else sum(series is not None for series in known.series.values())


def shown(point: Any) -> str:
    """Return a point as a text that differs for 1, 1.0 and True."""
    rest = {name: value for name, value in vars(point).items() if "time" not in name and name != "exemplars"}
    exemplars = [(each.filtered_attributes, each.value, each.span_id, each.trace_id) for each in point.exemplars]
    return repr((rest, exemplars))


ATTRIBUTES = st.none() | st.dictionaries(
    st.sampled_from(["a", "b", "c", ""]),
    st.sampled_from([0, 1, 0.0, 1.0, True, False, None, "x", "1", b"1", [1], [True], ("x",), {"d": 1}]),
    max_size=3,
).flatmap(lambda made: st.permutations(list(made.items())).map(dict))
AMOUNTS = st.one_of(
    st.integers(-3, 20),
    st.floats(),
    st.sampled_from([0, -0.0, True, 5, 5.0, 10**30, 10**400, sys.float_info.max, None, "1"]),
)
CALLS = st.lists(
    st.one_of(
        st.just("collect"),
        st.tuples(st.sampled_from(sorted(METHODS)), AMOUNTS, ATTRIBUTES, st.none() | st.sampled_from(SPANS)),
    ),
    max_size=40,
)
VIEWS = {
    "none": (),
    "all kinds": (
        View(instrument_name="counter", attribute_keys={"a"}),
        View(instrument_name="both", aggregation=DropAggregation()),
        View(instrument_name="histogram", name="other", attribute_keys=set()),
        View(instrument_name="histogram"),
        View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
    ),
}


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("temporality", [None, DELTA], ids=["cumulative", "delta"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS, readers=st.integers(1, 2))
def test_numbers_on_the_short_way_equal_the_sdks(
    swallowed: list[str], views: Sequence[View], temporality: Any, calls: list[Any], readers: int
) -> None:
    """Same points and exemplars at every collection, for any numbers, attributes and spans."""
    found = []
    for exemplars, method in (
        (SampledSpanExemplarFilter(), Meters.record),
        (TraceBasedExemplarFilter(), Meters.record_by_sdk),
    ):
        random.seed(0)
        meters = Meters(exemplars, readers=readers, views=views, temporality=temporality)
        found.append([outcome(meters, method, call) for call in (*calls, "collect", "collect")])
    assert found[0] == found[1]
    # Numbers that the SDK raises for.
    assert all(": TypeError: " in each or ": OverflowError: " in each for each in swallowed)
    swallowed.clear()


def outcome(meters: Meters, method: Callable[..., None], call: Any) -> Any:
    """Make a call; return the points of a collection, None for a number."""
    if call == "collect":
        return meters.points()
    name, amount, attributes, span = call
    try:
        method(meters, name, amount, attributes, span and trace.set_span_in_context(span, Context()))
    except (TypeError, OverflowError):
        # Only the SDK's own method raises: the number is lost there, too.
        return None
    return None


@pytest.mark.parametrize("name", METHODS)
def test_number_with_known_attributes_takes_the_short_way(name: str) -> None:
    """From the second measurement on, in either order of the attributes; with and without any."""
    meters = Meters()
    attributes = {"a": 1, "b": "x"}
    for given_ in (attributes, dict(reversed(attributes.items())), None, {"a": True, "b": "x"}, {"a": [1]}):
        for _ in range(3):
            meters.record(name, 2, given_)
    assert meters.quick(name) == 4


@pytest.mark.parametrize("exemplars", [AlwaysOnExemplarFilter(), AlwaysOffExemplarFilter()])
def test_other_exemplar_filter_takes_the_sdks_way(exemplars: ExemplarFilter) -> None:
    """A filter that the application chose decides on each number."""
    meters = Meters(exemplars)
    for _ in range(3):
        meters.record("counter", 2, {"a": 1})
    assert meters.quick("counter") == 0
    data: Any = meters.readers[0].get_metrics_data()
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert (point.value, len(point.exemplars)) == (6, isinstance(exemplars, AlwaysOnExemplarFilter))


@pytest.mark.parametrize(
    ("name", "amount", "message"),
    [
        ("counter", -1, "Add amount must be non-negative on Counter counter."),
        ("counter", float("nan"), "Add amount nan is not finite on Counter counter, ignoring measurement."),
        ("both", float("inf"), "Add amount inf is not finite on UpDownCounter both, ignoring measurement."),
        ("histogram", -0.5, "Record amount must be non-negative on Histogram histogram."),
        ("histogram", float("inf"), "Record amount inf is not finite on Histogram histogram, ignoring measurement."),
        ("level", float("-inf"), "Set amount -inf is not finite on Gauge level, ignoring measurement."),
    ],
)
def test_refused_number_has_the_sdks_message(
    name: str, amount: float, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also on an instrument that takes the short way; the number is not counted."""
    meters = Meters()
    for _ in range(3):
        meters.record(name, 2, {"a": 1})
    before = meters.points()
    with caplog.at_level(logging.WARNING):
        meters.record(name, amount, {"a": 1})
    assert [record.getMessage() for record in caplog.records] == [message]
    assert meters.quick(name) == 1
    assert meters.points() == before


@pytest.mark.parametrize("temporality", [None, DELTA], ids=["cumulative", "delta"])
def test_numbers_of_many_threads_are_all_counted(temporality: Any) -> None:
    """While another thread collects all the time: no number is lost or counted twice."""
    meters = Meters(temporality=temporality)
    done = threading.Event()
    seen = []

    def record() -> None:
        for number in range(4000):
            meters.record("counter", 1, {"kind": number % 3})
            meters.record("histogram", number % 7, {"kind": number % 3})

    def collect() -> None:
        while not done.is_set():
            seen.append(meters.readers[0].get_metrics_data())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        collector = threading.Thread(target=collect)
        threads = [threading.Thread(target=record) for _ in range(4)]
        for each in (collector, *threads):
            each.start()
        for each in threads:
            each.join()
        done.set()
        collector.join()
    finally:
        sys.setswitchinterval(interval)
    seen.append(meters.readers[0].get_metrics_data())
    totals: list[dict[str, int]] = []
    for data in filter(None, seen):
        total = {"counter": 0, "histogram": 0}
        for metric in (m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics):
            points: Any = metric.data.data_points
            total[metric.name] += sum(vars(point).get("value", vars(point).get("count", 0)) for point in points)
        totals.append(total)
    reported = totals if temporality else totals[-1:]
    assert {name: sum(total[name] for total in reported) for name in ("counter", "histogram")} == {
        "counter": 16000,
        "histogram": 16000,
    }


def test_reader_added_or_removed_later_has_the_numbers_from_then_on() -> None:
    """A known series of the first reader does not hide the second reader, nor outlive it."""
    meters = Meters()
    for _ in range(3):
        meters.record("counter", 1, {"a": 1})
    second = InMemoryMetricReader()
    meters.provider.add_metric_reader(second)
    meters.readers.append(second)
    for _ in range(3):
        meters.record("counter", 1, {"a": 1})
    data: Any = second.get_metrics_data()
    assert data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value == 3
    assert meters.values("counter") == [({"a": 1}, 6)]
    meters.provider.remove_metric_reader(meters.readers.pop(0))
    for _ in range(3):
        meters.record("counter", 1, {"a": 1})
    assert meters.values("counter") == [({"a": 1}, 6)]


def test_disabled_meter_records_nothing() -> None:
    """A configuration that changes while the program runs holds for known series, too."""
    meters = Meters()
    config: Any = meters.instruments["counter"]._meter_config
    before = config._config
    for is_enabled, expected in ((True, 3), (False, 3), (True, 6)):
        config.update(type(before)(is_enabled=is_enabled))
        for _ in range(3):
            meters.record("counter", 1)
        assert meters.values("counter") == [({}, expected)]


def test_number_after_a_reset_starts_at_zero() -> None:
    """A forked child counts its own numbers, in series of its own."""
    meters = Meters()
    for _ in range(3):
        meters.record("counter", 5, {"a": 1})
    sdk.forget_measurements(meters.provider)
    for _ in range(3):
        meters.record("counter", 1, {"a": 1})
    assert meters.values("counter") == [({"a": 1}, 3)]


def test_watched_number_raises_the_flag() -> None:
    """Also one that takes the short way, on an instrument that was used before the watch began."""
    meters = Meters()
    for _ in range(3):
        meters.record("counter", 1)
    flag, woken = Flag(), []
    MetricSource(meters.readers[0]).watch(flag, lambda: woken.append(1))
    for expected in (1, 2):
        flag.up = False
        for _ in range(3):
            meters.record("counter", 1)
        assert (flag.up, len(woken)) == (True, expected)


def test_checkpoint_of_known_series_equals_the_next_collection() -> None:
    """Numbers of the short way are in the snapshot, and a collection in between resets them."""
    meters = Meters()
    source = MetricSource(meters.readers[0])
    for _ in range(3):
        for amount in (1, 2, 3):
            meters.record("counter", amount)
            meters.record("histogram", amount)
        snapshot, collected = source.recent(lambda: None), meters.readers[0].get_metrics_data()
        texts = []
        for data in (snapshot, collected):
            assert data is not None
            texts.append(
                [shown(p) for m in data.resource_metrics[0].scope_metrics[0].metrics for p in m.data.data_points]
            )
        assert texts[0] == texts[1]


def test_attributes_changed_after_the_call_leave_the_series_as_it_is() -> None:
    """The application may fill the same dictionary again and again."""
    meters = Meters()
    attributes: dict[str, Any] = {}
    for _ in range(3):
        for kind in ("x", "y", 1, True):
            attributes["kind"] = kind
            meters.record("counter", 1, attributes)
    assert sorted(map(repr, meters.values("counter"))) == sorted(
        repr(({"kind": kind}, 3)) for kind in ("x", "y", 1, True)
    )


class Hostile(str):
    """A text that cannot be hashed, with an exception that ends programs."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise SystemExit("hostile")


@pytest.mark.parametrize("attributes", [{"a": Hostile("x")}, {"a": {1: Hostile("x")}}, MappingProxyType({"a": 1}), [1]])
def test_hostile_attributes_do_not_raise(attributes: Any, swallowed: list[str]) -> None:
    """Other numbers of the instrument are counted as before."""
    meters = Meters()
    for _ in range(3):
        meters.record("counter", 1, {"b": 1})
        meters.record("counter", 1, attributes)
    assert ({"b": 1}, 3) in meters.values("counter")
    assert set(swallowed) <= {"Counter.add: SystemExit: hostile"}
    swallowed.clear()


class Broken(SimpleFixedSizeExemplarReservoir):
    """A reservoir of the application's that fails from the fourth exemplar on."""

    def offer(self, *args: Any, **kwargs: Any) -> None:
        """Keep an exemplar."""
        if self._measurements_seen >= 3:
            raise LookupError("full")
        super().offer(*args, **kwargs)


def test_failing_reservoir_does_not_raise(swallowed: list[str]) -> None:
    """An exemplar that cannot be kept costs one line; its number is counted."""
    broken: Any = Broken
    meters = Meters(views=[View(instrument_name="counter", exemplar_reservoir_factory=lambda _: broken)])
    for _ in range(5):
        meters.record("counter", 1, None, trace.set_span_in_context(SPANS[1]))
    assert meters.values("counter") == [({}, 5)]
    assert swallowed == ["recording a number: LookupError: full"] * 2
    swallowed.clear()


def test_series_beyond_the_limit_are_added_up_with_one_message() -> None:
    """Sums stay exact with known series, new ones, and those beyond the limit."""
    script = """
from otel_distro._otel.safe_api import install_safe_api
from otel_distro.export.processors import QueueSpanProcessor
install_safe_api(QueueSpanProcessor)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_distro._otel.cardinality import limit_cardinality
from otel_distro._otel.fast_measurements import SampledSpanExemplarFilter
reader = InMemoryMetricReader(**limit_cardinality())
provider = MeterProvider([reader], shutdown_on_exit=False, exemplar_filter=SampledSpanExemplarFilter())
counter = provider.get_meter("test").create_counter("shop.seen")
for _ in range(4):
    for number in range(50):
        counter.add(1, {"user": number})
    points = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    rest = [point.value for point in points if "otel.metric.overflow" in point.attributes]
    print(len(points), sum(point.value for point in points), rest)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"OTEL_DISTRO_CARDINALITY_LIMIT": "5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "5 50 [46]\n5 100 [92]\n5 150 [138]\n5 200 [184]\n")
    assert ended.stderr.count("shop.seen has more than 4 series because of its attribute user") == 1
    assert ended.stderr.count("\n") == 1
