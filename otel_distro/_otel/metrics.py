"""The series that the SDK keeps for one metric reader: collected in parts, snapshots, resets."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from copy import deepcopy
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import get_current
from opentelemetry.metrics import Asynchronous, CallbackOptions

from otel_distro._otel import metric_patches
from otel_distro._runtime import threads
from otel_distro._runtime.lock_holders import holds_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from otel_distro._otel.needs import Samples


class Flag:
    """A boolean that threads share."""

    __slots__ = ("up",)

    def __init__(self) -> None:
        self.up = False


class Watch:
    """The flag that measurements of one provider raise. It is up until the provider is watched."""

    __slots__ = ("flag", "raised")

    def __init__(self) -> None:
        self.flag = Flag()
        self.flag.up = True
        self.raised: Callable[[], object] = lambda: None


def watch_of(consumer: Any) -> Watch:
    """Return the one watch of the SDK object that receives every measurement of a provider."""
    found: Watch = consumer.__dict__.setdefault("watch_of_otel_distro", Watch())
    return found


class MetricSource:
    """The series of one ``InMemoryMetricReader``, collected in parts.

    ``reader.collect()`` waits for a callback that hangs; here the caller runs each callback itself.
    Where the patch is off there are no callbacks to run, and :meth:`collect` is the reader's.
    """

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    @property
    def _storage(self) -> Any:
        return self._consumer._reader_storages[self._reader]

    @property
    def _consumer(self) -> Any:
        return self._reader._collect.__self__

    def watch(self, flag: Flag, raised: Callable[[], object]) -> None:
        """Raise ``flag`` at each measurement of a synchronous instrument.

        ``raised()`` is called when it was down.
        """
        metric_patches.SNAPSHOTS.install(self._watch, flag, raised)

    def _watch(self, flag: Flag, raised: Callable[[], object]) -> None:
        consumer = self._consumer
        watch = watch_of(consumer)
        watch.raised = raised
        watch.flag = flag

        # The SDK's own function and two lines: one more call would cost more than all of this.
        @holds_lock
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
        if not metric_patches.METRIC_PARTS.on:
            return []
        return [
            (instrument, callback)
            for instrument in list(self._consumer._async_instruments)
            if instrument._is_enabled()
            for callback in instrument._callbacks
        ]

    def observe(self, instrument: Any, callback: Any) -> Iterator[Any]:
        """Yield what a callback observes. Raises what the callback raises."""
        from opentelemetry.sdk.metrics._internal.measurement import Measurement

        is_own = instrument.instrumentation_scope.name.startswith("otel_distro")
        with nullcontext() if is_own else threads.unblock_signals():
            for seen in callback(CallbackOptions()):
                if math.isfinite(seen.value):
                    context = seen.context or get_current()
                    yield Measurement(seen.value, time.time_ns(), instrument, context, seen.attributes)

    def record_observed(self, observed: Sequence[Any]) -> None:
        """Record what :meth:`observe` returned."""
        if not observed:
            return
        sampled = self._consumer._sdk_config.exemplar_filter.should_sample
        storage = self._storage
        for m in observed:
            storage.consume_measurement(m, sampled(m.value, m.time_unix_nano, m.attributes, m.context))

    def collect(self) -> MetricsData | None:
        """Return all metrics as they are now, and reset those that are exported as differences."""
        if not metric_patches.METRIC_PARTS.on:
            return cast("MetricsData | None", self._reader.get_metrics_data())
        return cast("MetricsData | None", self._storage.collect())

    def recent(self, between: Callable[[], object]) -> MetricsData | None:
        """Return what synchronous instruments recorded, as the next :meth:`collect` will have it.

        Nothing is reset, no exemplar is used up, no callback is called. ``between`` is called after
        each instrument.
        """
        storage = twin_of(self._storage)
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


def twin_of(thing: Any) -> Any:
    """Return another object of the class with the same attributes, and a lock of its own."""
    twin = object.__new__(type(thing))
    twin.__dict__.update(thing.__dict__, _lock=RLock())
    return twin


def _recent(match: Any) -> Any:
    twin = twin_of(match)
    twin._attributes_aggregation = {}
    with match._lock:
        found = list(match._attributes_aggregation.items())
    for key, aggregation in found:
        fields = aggregation.__dict__
        if fields.get("_value", fields.get("_value_positive")) is None:
            continue
        with aggregation._lock:
            copied = twin_of(aggregation)
            for name, value in fields.items():
                if type(value) is list:
                    copied.__dict__[name] = value[:]
                elif name.endswith(("_positive", "_negative")) and value is not None:
                    copied.__dict__[name] = deepcopy(value)
        copied._reservoir = _NoExemplars
        twin._attributes_aggregation[key] = copied
    return twin


def verify_snapshot(samples: Samples) -> None:
    """Raise ``ValueError`` if :meth:`MetricSource.recent` differs from a collection."""
    before = _points(MetricSource(samples.reader).recent(lambda: None))
    after = _points(samples.reader.get_metrics_data())
    if before.keys() < {"counter", "histogram", "exponential"} or any(
        after.get(name) != points for name, points in before.items()
    ):
        raise ValueError("a snapshot of counters is not what is collected")


def _points(found: MetricsData | None) -> dict[str, list[Any]]:
    """Return the sums and counts of each metric by its name."""
    return {
        metric.name: [
            (getattr(point, "value", None), getattr(point, "sum", None), getattr(point, "count", None))
            for point in metric.data.data_points
        ]
        for resource in (found.resource_metrics if found is not None else ())
        for scope in resource.scope_metrics
        if scope.scope.name == "otel_distro.probe"
        for metric in scope.metrics
    }
