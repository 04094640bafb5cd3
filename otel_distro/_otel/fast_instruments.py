"""Numbers added directly to the SDK's series, for attributes that the instrument has had before.

The first measurement with some attributes takes the SDK's way, which makes their series. From then
on one lookup leads from the attributes to it: no ``Measurement``, no cleaning, no key of the SDK.
All else takes the SDK's way: numbers that it refuses, attributes that it cleans, series that a
collection replaces, other aggregations and exemplar filters, spans of other kinds.
"""

from __future__ import annotations

import functools
import sys
from bisect import bisect_left
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, get_current

from otel_distro._otel import metric_patches
from otel_distro._otel.fast_measurements import SampledSpanExemplarFilter, is_clean
from otel_distro._otel.metrics import twin_of, watch_of
from otel_distro._otel.sdk import SDK_SPAN, SERIES_CACHE, SPAN_KEY
from otel_distro._runtime.diagnostics import is_of_signal_handler, report_failure
from otel_distro._runtime.lock_holders import holds_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro._otel.needs import Samples

    Add = Callable[[Any], None]
    Series = tuple[Add, Callable[..., None], dict[Any, Any]]

_LARGEST = sys.float_info.max
_MAX_KEYS = 2048
_CAUGHT = (Exception, SystemExit)
"""SystemExit too: a value that raises it did not mean to end the program at this place."""


class _Known:
    """The series of one instrument that were found so far.

    ``series``: by attributes and the types of their values. For each reader and view: what adds a
    number, what offers an exemplar, and the attributes for it. None where only the SDK may add.
    """

    __slots__ = ("config", "consumer", "series", "storages", "watch")

    def __init__(self, instrument: Any) -> None:
        self.consumer = instrument._measurement_consumer
        self.config = instrument._meter_config
        self.storages = self.consumer._reader_storages
        self.watch = watch_of(self.consumer)
        self.series: dict[Any, tuple[Series, ...] | None] = {}


def install_fast_instruments() -> None:
    """Put the short way in front of the methods that record. Harmless when called again."""
    metric_patches.FAST_INSTRUMENTS.install(_install)


def _install() -> None:
    from opentelemetry.sdk import metrics

    if hasattr(metrics.Counter.add, SERIES_CACHE):
        return
    for owner, name, smallest in (
        (metrics.Counter, "add", 0),
        (metrics.UpDownCounter, "add", -_LARGEST),
        (metrics.Histogram, "record", 0),
        (metrics._Gauge, "set", -_LARGEST),
    ):
        setattr(owner, name, _method(getattr(owner, name), smallest))


def _method(slow: Callable[..., Any], smallest: float) -> Callable[..., Any]:
    @functools.wraps(slow)
    def record(instrument: Any, amount: Any, attributes: Any = None, context: Any = None) -> None:
        kind = type(amount)
        # The comparison is also false for what is not finite.
        if (kind is int or kind is float) and smallest <= amount <= _LARGEST:
            try:
                known = instrument.series_known_to_otel_distro
                if attributes is None:
                    series = known.series[()]
                elif type(attributes) is dict:
                    # With the types: 1, 1.0 and True are equal, and belong to different series.
                    key = (*attributes.items(), *map(type, attributes.values()))
                    series = known.series[key]
                else:
                    series = None
            except _CAUGHT as error:
                if type(error) is not KeyError and is_of_signal_handler(error):
                    raise
                series = None
                _learn(instrument, attributes)
            if series is not None and _add(known, series, amount, context):
                return
        slow(instrument, amount, attributes, context)

    setattr(record, SERIES_CACHE, True)
    return record


@holds_lock
def _add(known: _Known, series: tuple[Series, ...], amount: Any, context: Any) -> bool:
    """Add a number to each series. Returns False where the SDK has to do it."""
    try:
        if known.storages is not known.consumer._reader_storages:
            # A reader was added or removed.
            known.series.clear()
            return False
        around = context or get_current()
        span: Any = around.get(SPAN_KEY) if type(around) is Context else around
        kind = type(span)
        if not known.config._config.is_enabled or not (span is None or kind is SDK_SPAN):
            return False
        for add, offer, attributes in series:
            add(amount)
            if span is not None and span._context.trace_flags & 1:
                offer(amount, time_ns(), attributes, around)
        watch = known.watch
        if not watch.flag.up:
            watch.flag.up = True
            watch.raised()
    except _CAUGHT as error:
        if is_of_signal_handler(error):
            raise
        report_failure("recording a number", error)
    return True


def _learn(instrument: Any, attributes: Any) -> None:
    """Find the series of these attributes, for the next measurement."""
    try:
        known = instrument.__dict__.get(SERIES_CACHE)
        if known is None or known.storages is not known.consumer._reader_storages:
            known = _Known(instrument)
            setattr(instrument, SERIES_CACHE, known)
        # Copied first: another thread may be changing it.
        copied: dict[Any, Any] = {} if attributes is None else attributes.copy()
        if not is_clean(copied):
            return
        found = _series_of(known, instrument, copied)
        if len(known.series) >= _MAX_KEYS:
            known.series.clear()
        key = (*copied.items(), *map(type, copied.values()))
        known.series[key] = found
    except _CAUGHT as error:
        if type(error) is not KeyError and is_of_signal_handler(error):
            raise
        # A series that is still to be made, or hostile attributes: the SDK's way deals with both.


def _series_of(known: _Known, instrument: Any, attributes: dict[Any, Any]) -> tuple[Series, ...] | None:
    """Return the series in all readers and views, None where only the SDK may add to one.

    Raises:
        KeyError: If one does not exist yet.
    """
    if type(known.consumer._sdk_config.exemplar_filter) is not SampledSpanExemplarFilter:
        return None
    found: list[Series] = []
    for storage in known.storages.values():
        for match in storage._instrument_view_instrument_matches[instrument]:
            series = _series(match, attributes)
            make = _makers().get(type(series))
            # From 1.45.2 a collection of differences replaces the series.
            if make is None or getattr(match, "_reset_on_collect", False):
                return None
            found.append((make(series), series._reservoir.offer, attributes))
    return tuple(found)


def _series(match: Any, attributes: dict[Any, Any]) -> Any:
    """Return the one series of a reader and a view with these attributes. Raises ``KeyError``."""
    from opentelemetry.sdk.metrics._internal import _view_instrument_match

    wanted = match._view._attribute_keys
    if wanted is not None:
        attributes = {key: value for key, value in attributes.items() if key in wanted}
    key = _view_instrument_match._hash_attributes(attributes)
    # Not by `[]`: beyond the cardinality limit that returns the series for all others.
    series = match._attributes_aggregation.get(key)
    if series is None:
        raise KeyError(key)
    return series


@functools.cache
def _makers() -> dict[type, Callable[[Any], Add]]:
    """Return what makes the function that adds to a series, by the class of the series."""
    from opentelemetry.sdk.metrics._internal import aggregation

    return {
        aggregation._SumAggregation: _sum,
        aggregation._ExplicitBucketHistogramAggregation: _histogram,
        aggregation._LastValueAggregation: _last_value,
    }


def _sum(series: Any) -> Add:
    lock = series._lock

    def add(amount: Any) -> None:
        with lock:
            value = series._value
            series._value = (0 if value is None else value) + amount

    return add


def _histogram(series: Any) -> Add:
    lock, boundaries = series._lock, series._boundaries

    def add(amount: Any) -> None:
        with lock:
            counts = series._value
            if counts is None:
                counts = series._value = series._get_empty_bucket_counts()
            series._sum += amount
            if series._record_min_max:
                # min() and max() cost ten times as much.
                if amount < series._min:  # noqa: PLR1730
                    series._min = amount
                if amount > series._max:  # noqa: PLR1730
                    series._max = amount
            counts[bisect_left(boundaries, amount)] += 1

    return add


def _last_value(series: Any) -> Add:
    lock = series._lock

    def add(amount: Any) -> None:
        with lock:
            series._value = amount

    return add


def verify(found: Samples) -> None:
    """Raise ``ValueError`` if a number added here gives other fields than the SDK's own way."""
    from opentelemetry.sdk.metrics._internal.measurement import Measurement

    for name in ("counter", "histogram", "level"):
        (series,) = found.matches[name]._attributes_aggregation.values()
        own, added = _copy(series), _copy(series)
        add = _makers()[type(series)](added)
        for amount in (7, 0.5, 7000):
            own.aggregate(Measurement(amount, 0, found.counter, Context(), None), False)
            add(amount)
            if vars(own) != {**vars(added), "_lock": own._lock}:
                raise ValueError(f"a number added to a {name} gives {vars(added)} instead of {vars(own)}")


def _copy(series: Any) -> Any:
    copied = twin_of(series)
    copied._value = None
    return copied
