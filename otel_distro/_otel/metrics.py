"""The part of :mod:`otel_distro._otel.sdk` that is about metrics: what OpenTelemetry keeps private of them."""

from __future__ import annotations

import functools
import math
import time
from contextlib import nullcontext
from copy import deepcopy
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Asynchronous, CallbackOptions
from opentelemetry.sdk.metrics import TraceBasedExemplarFilter
from opentelemetry.sdk.metrics._internal import _view_instrument_match, measurement, metric_reader_storage
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.trace import SpanContext

from otel_distro._otel.sdk import SDK_SPAN, SPAN_KEY
from otel_distro._runtime import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

PLAIN = frozenset({str, bool, int, float, bytes, type(None)})
"""The types of values that the SDK leaves as they are when it cleans attributes."""

_STR = frozenset({str})
_MOST_KEYS = 1024


class Flag:
    """Up or down."""

    __slots__ = ("up",)

    def __init__(self) -> None:
        self.up = False


class MetricSource:
    """What the SDK keeps for one metric reader, asked in parts; ``reader.collect()`` waits a callback that hangs."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    @property
    def _storage(self) -> Any:
        return self._consumer._reader_storages[self._reader]

    @property
    def _consumer(self) -> Any:
        return self._reader._collect.__self__

    def watch(self, flag: Flag, raised: Callable[[], object]) -> None:
        """Raise ``flag`` at each measurement of a synchronous instrument, and call ``raised()`` where it was down."""
        consumer = self._consumer

        # The SDK's own function and two lines: one more call would cost more than all of this.
        def consume_measurement(m: Any) -> None:
            sampled = consumer._sdk_config.exemplar_filter.should_sample(
                m.value, m.time_unix_nano, m.attributes, m.context
            )
            for storage in consumer._reader_storages.values():
                storage.consume_measurement(m, sampled)
            if not flag.up:
                flag.up = True
                raised()

        consumer.consume_measurement = consume_measurement

    def callbacks(self) -> list[tuple[Any, Any]]:
        """Return each enabled observable instrument with each of its callbacks."""
        return [
            (instrument, callback)
            for instrument in list(self._consumer._async_instruments)
            if instrument._is_enabled()
            for callback in instrument._callbacks
        ]

    def ask(self, instrument: Any, callback: Any) -> Iterator[Any]:
        """Yield what a callback observes. Raises what the callback raises."""
        ours = instrument.instrumentation_scope.name.startswith("otel_distro")
        with nullcontext() if ours else threads.unblock_signals():
            for seen in callback(CallbackOptions()):
                if math.isfinite(seen.value):
                    context = seen.context or get_current()
                    yield Measurement(seen.value, time.time_ns(), instrument, context, seen.attributes)

    def take(self, observed: Sequence[Any]) -> None:
        """Record what :meth:`ask` returned."""
        sampled = self._consumer._sdk_config.exemplar_filter.should_sample
        storage = self._storage
        for m in observed:
            storage.consume_measurement(m, sampled(m.value, m.time_unix_nano, m.attributes, m.context))

    def collect(self) -> MetricsData | None:
        """Return all metrics as they are now, and begin anew what is told as differences."""
        return cast("MetricsData | None", self._storage.collect())

    def recent(self, between: Callable[[], object]) -> MetricsData | None:
        """Return what was recorded by synchronous instruments since :meth:`collect`, as the next one will tell it.

        Nothing is reset, no exemplar is used up, no callback is called. ``between`` is called after each instrument.
        """
        storage = _twin(self._storage)
        storage._instrument_view_instrument_matches = copied = {}
        for instrument, matches in list(self._storage._instrument_view_instrument_matches.items()):
            if not isinstance(instrument, Asynchronous):
                copied[instrument] = [_recent(match) for match in matches]
                between()
        return cast("MetricsData | None", storage.collect())


class _NoExemplars:
    @staticmethod
    def collect(_: object) -> Sequence[Any]:
        return ()


def _twin(thing: Any) -> Any:
    """Return another object of the class with the same attributes, and a lock of its own."""
    twin = object.__new__(type(thing))
    twin.__dict__.update(thing.__dict__, _lock=RLock())
    return twin


def _recent(match: Any) -> Any:
    twin = _twin(match)
    twin._attributes_aggregation = {}
    with match._lock:
        found = list(match._attributes_aggregation.items())
    for key, aggregation in found:
        fields = aggregation.__dict__
        if fields.get("_value", fields.get("_value_positive")) is None:
            continue
        with aggregation._lock:
            copied = _twin(aggregation)
            for name, value in fields.items():
                if type(value) is list:
                    copied.__dict__[name] = value[:]
                elif name.endswith(("_positive", "_negative")) and value is not None:
                    copied.__dict__[name] = deepcopy(value)
        copied._reservoir = _NoExemplars
        twin._attributes_aggregation[key] = copied
    return twin


def table_series_in(table: Callable[[str], dict[Any, Any]]) -> None:
    """Let ``table(name of an instrument)`` make the dictionary that holds the series of each instrument from here on."""
    module: Any = metric_reader_storage
    theirs = module._ViewInstrumentMatch
    if theirs.__module__ == __name__:
        return

    class Match(theirs):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._attributes_aggregation = table(self._name)

    module._ViewInstrumentMatch = Match


def series_attributes(series: Any) -> Mapping[str, Any]:
    """Return the attributes of a series of the SDK."""
    return cast("Mapping[str, Any]", series._attributes)


def set_series_attributes(series: Any, attributes: Mapping[str, Any]) -> None:
    """Change the attributes of a series that nothing was recorded in."""
    series._attributes = attributes


def is_clean(attributes: dict[Any, Any]) -> bool:
    """Whether the SDK would leave attributes, which no other thread is changing, as they are: the usual ones."""
    return (
        PLAIN.issuperset(map(type, attributes.values()))
        and _STR.issuperset(map(type, attributes))
        and "" not in attributes
    )


def install_fast_measurements() -> None:
    """Let the SDK count the usual measurement without looking at each attribute again, and without detours.

    Two thirds of what it costs to record a number are spent on that. All else goes the SDK's way. Harmless when called again.
    """
    places: Any = measurement, _view_instrument_match
    storages: Any = metric_reader_storage.MetricReaderStorage
    slow_clean, slow_key = places[0]._clean_attribute_value, places[1]._hash_attributes
    if slow_clean.__module__ == __name__:
        return
    known: dict[Any, Any] = {}

    def clean(value: Any, longest: int | None) -> Any:
        if type(value) is dict and longest is None:
            # Copied first: another thread may be changing it.
            copied = value.copy()
            if is_clean(copied):
                return copied
        return slow_clean(value, longest)

    def key_of(value: Any) -> Any:
        if type(value) is not dict:
            return slow_key(value)
        kinds = tuple(map(type, value.values()))
        if not PLAIN.issuperset(kinds):
            return slow_key(value)
        seen = (kinds, *value.items())
        found = known.get(seen)
        if found is None:
            if len(known) >= _MOST_KEYS:
                known.clear()
            found = known[seen] = slow_key(value)
        return found

    places[0]._clean_attribute_value, places[1]._hash_attributes = clean, key_of
    places[0].Measurement.__init__ = _making(places[0].Measurement.__init__, clean)
    storages.consume_measurement = _counting(storages.consume_measurement, key_of)
    TraceBasedExemplarFilter.should_sample = _sampling(TraceBasedExemplarFilter.should_sample)  # type: ignore[method-assign]


def _making(slow: Callable[..., None], clean: Callable[[Any, int | None], Any]) -> Callable[..., None]:
    """Return what makes a measurement, which is frozen, without the many calls that this takes."""

    @functools.wraps(slow)
    def make(m: Any, value: Any, time_unix_nano: Any, instrument: Any, context: Any, attributes: Any = None) -> None:
        if attributes is not None and type(attributes) is not dict:
            slow(m, value, time_unix_nano, instrument, context, attributes)
            return
        fields = m.__dict__
        fields["value"] = value
        fields["time_unix_nano"] = time_unix_nano
        fields["instrument"] = instrument
        fields["context"] = context
        fields["attributes"] = attributes if attributes is None else clean(attributes, None)

    return make


def _sampling(slow: Callable[..., bool]) -> Callable[..., bool]:
    """Return what tells whether a measurement was made within a sampled span, which is mostly one of the SDK's."""

    @functools.wraps(slow)
    def should_sample(rule: Any, value: Any, time_unix_nano: Any, attributes: Any, context: Any) -> bool:
        span = context.get(SPAN_KEY) if type(context) is Context else None
        if type(span) is SDK_SPAN and type(span._context) is SpanContext:
            return bool(span._context[3] & 1)
        return slow(rule, value, time_unix_nano, attributes, context)

    return should_sample


def _counting(slow: Callable[..., None], key_of: Callable[[Any], Any]) -> Callable[..., None]:
    """Return what adds a measurement to the series that are there already."""

    @functools.wraps(slow)
    def count(storage: Any, m: Any, should_sample_exemplar: bool = True) -> None:
        matches = storage._instrument_view_instrument_matches.get(m.instrument)
        if matches is None:
            slow(storage, m, should_sample_exemplar)
            return
        key = key_of(m.attributes or {})
        for match in matches:
            series = match._attributes_aggregation.get(key) if match._view._attribute_keys is None else None
            if series is None:
                match.consume_measurement(m, should_sample_exemplar)
            else:
                series.aggregate(m, should_sample_exemplar)

    return count
