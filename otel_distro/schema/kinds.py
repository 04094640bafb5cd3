"""The kinds of declared names: attribute, metric and event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Instrument = Literal["counter", "updowncounter", "gauge", "histogram"]

OWN_ROOTS = ("audit", "python", "otel_distro", "job", "health", "function")
"""Root namespaces of this distribution, which the semantic conventions leave free.

``job``, ``health`` and ``function`` are reserved for scheduled jobs, health checks and functions;
nothing is emitted under them yet.
"""

_UNIT_SUFFIX = {
    "s": "seconds",
    "ms": "milliseconds",
    "By": "bytes",
    "1": "ratio",
    "Hz": "hertz",
}


@dataclass(frozen=True)
class Attribute:
    """A key of an attribute: name, meaning and, for a closed set, its values."""

    name: str
    brief: str
    values: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label of the attribute in Prometheus and Loki."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class Metric:
    """A metric: its name, instrument, unit (UCUM) and the attributes its points may carry."""

    name: str
    instrument: Instrument
    unit: str
    brief: str
    attributes: tuple[Attribute, ...] = ()
    buckets: tuple[float, ...] = ()
    upstream: bool = False

    def series(self, part: Literal["", "bucket", "count", "sum"] = "") -> str:
        """Return the name of the series in Prometheus (``UnderscoreEscapingWithSuffixes``).

        Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/

        Args:
            part: One of a histogram's three series; empty for other instruments.

        Raises:
            ValueError: ``part`` does not fit the instrument.
        """
        if bool(part) != (self.instrument == "histogram"):
            raise ValueError(f"{self.name} is a {self.instrument}: part {part!r} does not fit")
        words = [self.name.replace(".", "_")]
        unit = _UNIT_SUFFIX.get(self.unit, "")
        if (
            unit
            and not (unit == "ratio" and self.instrument in ("counter", "histogram"))
            and not words[0].endswith(unit)
        ):
            words.append(unit)
        if self.instrument == "counter":
            words.append("total")
        if part:
            words.append(part)
        return "_".join(words)


@dataclass(frozen=True)
class Event:
    """An event: a log record with an event name and these attributes."""

    name: str
    brief: str
    attributes: tuple[Attribute, ...] = ()
