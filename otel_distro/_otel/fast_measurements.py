"""The common measurement recorded without looking at each attribute again.

Two thirds of what it costs to record a number are spent on that. All else takes the SDK's way.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import TraceBasedExemplarFilter

from otel_distro._otel import metric_patches
from otel_distro._otel.patch import sdk_release
from otel_distro._otel.sdk import SDK_SPAN, SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN: frozenset[type] = frozenset(
    (str, bool, int, float, bytes, type(None)) if sdk_release() >= (1, 45) else (str, bool, int, float)
)
"""The types of values that the SDK leaves as they are when it cleans attributes."""

_EXAMPLES: dict[type, Any] = {str: "x", bool: True, int: 1, float: 1.5, bytes: b"x", type(None): None}

_STR = frozenset({str})
_MAX_KEYS = 1024


def is_clean(attributes: dict[Any, Any]) -> bool:
    """Return whether the SDK would leave ``attributes`` as they are.

    No other thread may be changing them.
    """
    return (
        PLAIN.issuperset(map(type, attributes.values()))
        and _STR.issuperset(map(type, attributes))
        and "" not in attributes
    )


def verify_plain(_: object) -> None:
    """Raise ``ValueError`` if the SDK changes a value of one of the types :data:`PLAIN`."""
    for kind in PLAIN:
        kept: Any = dict(BoundedAttributes(attributes={"probe": _EXAMPLES[kind]}, immutable=False))
        if kept.get("probe", kind) is not _EXAMPLES[kind]:
            raise ValueError(f"an attribute of type {kind.__name__} is changed")


class SampledSpanExemplarFilter(TraceBasedExemplarFilter):
    """``trace_based`` with a short way for the SDK's own spans, which are most."""

    def should_sample(self, value: Any, time_unix_nano: Any, attributes: Any, context: Any) -> bool:
        """Return whether a measurement was made within a sampled span."""
        if type(context) is Context:
            span: Any = context.get(SPAN_KEY)
            if span is None:
                return False
            if type(span) is SDK_SPAN:
                return bool(span.get_span_context().trace_flags & 1)
        return bool(super().should_sample(value, time_unix_nano, attributes, context))


def install_fast_measurements() -> None:
    """Put the short ways in front of the SDK's own. Harmless when called again."""
    metric_patches.FAST_MEASUREMENTS.install(_install)


def _install() -> None:
    from opentelemetry.sdk.metrics._internal import _view_instrument_match, measurement, metric_reader_storage

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
            if len(known) >= _MAX_KEYS:
                known.clear()
            found = known[seen] = slow_key(value)
        return found

    places[0]._clean_attribute_value, places[1]._hash_attributes = clean, key_of
    places[0].Measurement.__init__ = _measurement_init(places[0].Measurement.__init__, clean)
    may_reset = "reset_on_collect" in _view_instrument_match._ViewInstrumentMatch.__init__.__code__.co_varnames
    storages.consume_measurement = _consume_measurement(storages.consume_measurement, key_of, may_reset)


def _measurement_init(slow: Callable[..., None], clean: Callable[[Any, int | None], Any]) -> Callable[..., None]:
    """Return a constructor that fills a measurement, which is frozen, in one step per field."""

    @functools.wraps(slow)
    def init(m: Any, value: Any, time_unix_nano: Any, instrument: Any, context: Any, attributes: Any = None) -> None:
        if attributes is not None and type(attributes) is not dict:
            slow(m, value, time_unix_nano, instrument, context, attributes)
            return
        fields = m.__dict__
        fields["value"] = value
        fields["time_unix_nano"] = time_unix_nano
        fields["instrument"] = instrument
        fields["context"] = context
        fields["attributes"] = attributes if attributes is None else clean(attributes, None)

    return init


def _consume_measurement(
    slow: Callable[..., None], key_of: Callable[[Any], Any], may_reset: bool
) -> Callable[..., None]:
    """Return a function that adds a measurement directly to a series that exists.

    ``may_reset``: From 1.45.2, a collection of differences replaces the series, under a lock.
    """

    @functools.wraps(slow)
    def consume_measurement(storage: Any, m: Any, should_sample_exemplar: bool = True) -> None:
        matches = storage._instrument_view_instrument_matches.get(m.instrument)
        if matches is None:
            slow(storage, m, should_sample_exemplar)
            return
        key = key_of(m.attributes or {})
        for match in matches:
            series = match._attributes_aggregation.get(key) if match._view._attribute_keys is None else None
            if series is None or (may_reset and match._reset_on_collect):
                match.consume_measurement(m, should_sample_exemplar)
            else:
                series.aggregate(m, should_sample_exemplar)

    return consume_measurement
