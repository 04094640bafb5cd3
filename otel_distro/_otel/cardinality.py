"""A limit on the series of an instrument: an attribute with a new value at each call costs neither memory nor the backend.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro import schema, settings
from otel_distro._otel import metrics
from otel_distro._runtime.diagnostics import guard, say

if TYPE_CHECKING:
    from collections.abc import Iterable

_OVERFLOW = "overflow"


def limit_cardinality() -> None:
    """Hold every instrument that is made from here on to ``OTEL_DISTRO_CARDINALITY_LIMIT`` series; 0 is no limit."""
    limit = settings.OTEL_DISTRO_CARDINALITY_LIMIT.get()
    if limit:
        metrics.table_series_in(lambda name: Series(name, limit))


class Series(dict[Any, Any]):
    """The series of an instrument by their attributes, and one for all that go beyond the limit, so that sums stay exact.

    The SDK looks for a series, puts a new one in where there is none, and takes it out again: what it finds then is the
    overflow's. Only what is beyond the limit pays for it.
    """

    def __init__(self, instrument: str, limit: int) -> None:
        super().__init__()
        self._instrument = instrument
        self._room = max(1, limit - 1)

    def __setitem__(self, key: Any, series: Any) -> None:
        if len(self) < self._room or key == _OVERFLOW:
            super().__setitem__(key, series)
        elif _OVERFLOW not in self:
            with guard("naming what has too many values"):
                self._tell()
            metrics.set_series_attributes(series, {schema.METRIC_OVERFLOW.name: True})
            super().__setitem__(_OVERFLOW, series)

    def __missing__(self, key: Any) -> Any:
        if key == _OVERFLOW:
            raise KeyError(key)
        return self[_OVERFLOW]

    def _tell(self) -> None:
        attribute = most_varied(metrics.series_attributes(series) for series in list(self.values()))
        say(
            f"the metric {self._instrument} has more than {self._room} series because of its attribute {attribute}: "
            f"further ones are counted together as {schema.METRIC_OVERFLOW.name}",
            cause=f"cardinality {self._instrument}",
        )


def most_varied(attributes: Iterable[Any]) -> str:
    """Return the key with the most different values."""
    values: dict[str, set[str]] = {}
    for mapping in attributes:
        for key, value in (mapping or {}).items():
            values.setdefault(key, set()).add(str(value))
    return max(values, key=lambda key: len(values[key]), default="")
