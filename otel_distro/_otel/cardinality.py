"""A limit on the series of an instrument, for attributes with a new value in every call.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from otel_distro import schema, settings
from otel_distro._otel import metric_patches
from otel_distro._runtime.diagnostics import guard, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_OVERFLOW = "overflow"


def limit_cardinality() -> dict[str, Any]:
    """Limit the series of every instrument made from now on.

    ``OTEL_DISTRO_CARDINALITY_LIMIT`` says to how many; 0: no limit.

    Returns:
        Arguments of the metric reader: the SDK's own limit where it has one (from 1.45.2).
    """
    limit = settings.OTEL_DISTRO_CARDINALITY_LIMIT.get()
    if limit:
        metric_patches.CARDINALITY.install(_install, _table(limit))
    return _reader_arguments(max(1, limit - 1) if limit else sys.maxsize)


def _reader_arguments(limit: int) -> dict[str, Any]:
    """Return the argument for ``limit`` series and one overflow series, if the SDK takes it."""
    from opentelemetry.sdk import metrics

    if not _has_own_limit():
        return {}
    kinds: Any = (
        metrics.Counter,
        metrics.UpDownCounter,
        metrics.Histogram,
        metrics.ObservableCounter,
        metrics.ObservableUpDownCounter,
        metrics.ObservableGauge,
    )
    return {"cardinality_limits": dict.fromkeys(kinds, limit)}


def _has_own_limit() -> bool:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    return "cardinality_limits" in InMemoryMetricReader.__init__.__code__.co_varnames


def _table(limit: int) -> Callable[[str], Series]:
    make = ReportingSeries if _has_own_limit() else Series
    return lambda instrument: make(instrument, limit)


def _install(table: Callable[[str], dict[Any, Any]]) -> None:
    """Let ``table(name of an instrument)`` make the dictionary of the series of each instrument."""
    from opentelemetry.sdk.metrics._internal import metric_reader_storage

    module: Any = metric_reader_storage
    original = module._ViewInstrumentMatch
    if original.__module__ == __name__:
        return

    class Match(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._attributes_aggregation = table(self._name)

    module._ViewInstrumentMatch = Match


def verify(_: object) -> None:
    """Raise ``ValueError`` if three series with a limit of two do not add up on this SDK."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    with _installed(_table(2)):
        reader = InMemoryMetricReader(**_reader_arguments(1))
        provider = MeterProvider([reader], Resource.get_empty(), shutdown_on_exit=False)
        counter = provider.get_meter("otel_distro.probe").create_counter("probe")
        for value in range(3):
            counter.add(1, {"probe": value})
        found: Any = reader.get_metrics_data()
    (scope,) = [s for r in found.resource_metrics for s in r.scope_metrics if s.scope.name == "otel_distro.probe"]
    values = sorted(point.value for point in scope.metrics[0].data.data_points)
    if values != [1, 2]:
        raise ValueError(f"3 measurements in at most 2 series became {values}")


@contextmanager
def _installed(table: Callable[[str], Series]) -> Iterator[None]:
    from opentelemetry.sdk.metrics._internal import metric_reader_storage

    module: Any = metric_reader_storage
    original = module._ViewInstrumentMatch
    Series.is_silent = True
    try:
        _install(table)
        yield
    finally:
        Series.is_silent = False
        module._ViewInstrumentMatch = original


class Series(dict[Any, Any]):
    """The series of an instrument by their attributes, and one for all beyond the limit.

    The sums stay exact. The SDK does ``if key not in d: d[key] = new`` and then ``d[key]``. Beyond
    the limit the write is ignored and the read returns the overflow series.
    """

    is_silent = False

    def __init__(self, instrument: str, limit: int) -> None:
        super().__init__()
        self._instrument = instrument
        self._limit = max(1, limit - 1)

    def __setitem__(self, key: Any, series: Any) -> None:
        if len(self) < self._limit or key == _OVERFLOW:
            super().__setitem__(key, series)
        elif _OVERFLOW not in self:
            self._report()
            series._attributes = {schema.METRIC_OVERFLOW.name: True}
            super().__setitem__(_OVERFLOW, series)

    def __missing__(self, key: Any) -> Any:
        if key == _OVERFLOW:
            raise KeyError(key)
        return self[_OVERFLOW]

    def _report(self) -> None:
        if self.is_silent:
            return
        with guard("the report of a metric with too many series"):
            attribute = most_varied(series._attributes for series in list(self.values()))
            say(
                f"the metric {self._instrument} has more than {self._limit} series because of its attribute "
                f"{attribute}: further ones are added up in one series with {schema.METRIC_OVERFLOW.name}=true. "
                "Use an attribute with fewer values, or raise OTEL_DISTRO_CARDINALITY_LIMIT",
                cause=f"cardinality {self._instrument}",
                code="OD701",
            )


class ReportingSeries(Series):
    """The series of an instrument on an SDK that has a limit of its own: only reports it."""

    def __setitem__(self, key: Any, series: Any) -> None:
        if series._attributes == {schema.METRIC_OVERFLOW.name: True}:
            self._report()
        dict.__setitem__(self, key, series)

    def __missing__(self, key: Any) -> Any:
        raise KeyError(key)


def most_varied(attributes: Iterable[Any]) -> str:
    """Return the key with the most different values."""
    values: dict[str, set[str]] = {}
    for mapping in attributes:
        for key, value in (mapping or {}).items():
            values.setdefault(key, set()).add(str(value))
    return max(values, key=lambda key: len(values[key]), default="")
