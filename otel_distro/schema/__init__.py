"""Every attribute, metric and event that this distribution emits, and upstream metrics it shows.

This is the only place where a telemetry name is written as a string. Instrumentors, documentation,
dashboards, alert rules and tests read it from here. Names follow the OpenTelemetry semantic
conventions 1.44 (https://opentelemetry.io/docs/specs/semconv/); a name of this distribution is
under one of :data:`otel_distro.schema.kinds.OWN_ROOTS`.
"""

from __future__ import annotations

from otel_distro.schema.attributes import *
from otel_distro.schema.delivery import *
from otel_distro.schema.errors import *
from otel_distro.schema.host import *
from otel_distro.schema.http import *
from otel_distro.schema.kinds import *
from otel_distro.schema.logs import *
from otel_distro.schema.process import *
from otel_distro.schema.security import *
from otel_distro.schema.upstream import *


def metrics(*, upstream: bool = False) -> tuple[Metric, ...]:
    """Return the metrics of this distribution, or with ``upstream=True`` those of OpenTelemetry."""
    declared: list[Metric] = []
    for value in globals().values():
        found = value.values() if isinstance(value, dict) else (value,)
        declared.extend(m for m in found if isinstance(m, Metric) and m.upstream is upstream)
    return tuple(declared)


def events() -> tuple[Event, ...]:
    """Return the events of this distribution."""
    return tuple(e for e in globals().values() if isinstance(e, Event))


def attributes() -> tuple[Attribute, ...]:
    """Return every declared attribute."""
    return tuple(a for a in globals().values() if isinstance(a, Attribute))
