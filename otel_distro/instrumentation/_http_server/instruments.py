"""The tracer and the metrics of requests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import Observation

from otel_distro import schema
from otel_distro._runtime import fork
from otel_distro._version import __version__
from otel_distro.instrumentation._http_server import old_names, options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context

SCOPE: Final = "otel_distro.http_server"
_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"


class ActiveRequests:
    """How many requests are being answered, by method and scheme.

    The metric reads it, which costs a request less than two measurements.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def enter(self, method: str, scheme: str) -> ActiveRequests:
        """Count a request; return what it leaves again."""
        key = (method, scheme)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1
        return self

    def leave(self, method: str, scheme: str) -> None:
        """Count a request no longer."""
        key = (method, scheme)
        with self._lock:
            self._counts[key] -= 1

    def reset_after_fork(self) -> None:
        """Replace the lock, which another thread may have held during the fork."""
        self._lock = threading.Lock()

    def observe(self) -> list[Observation]:
        """Return one observation for each method and scheme that was ever seen."""
        with self._lock:
            counts = list(self._counts.items())
        method, scheme = schema.HTTP_REQUEST_METHOD.name, schema.URL_SCHEME.name
        return [Observation(count, {method: key[0], scheme: key[1]}) for key, count in counts]


class Instruments:
    """Made when the first request starts."""

    def __init__(self) -> None:
        self.provider = trace.get_tracer_provider()
        self.tracer = trace.get_tracer(SCOPE, __version__, schema_url=_SCHEMA_URL)
        self.active = ActiveRequests()
        meter = metrics.get_meter(SCOPE, __version__, schema_url=_SCHEMA_URL)
        active, duration = schema.HTTP_SERVER_ACTIVE, schema.HTTP_SERVER_DURATION
        meter.create_observable_up_down_counter(active.name, [self._observe], active.unit, active.brief)
        common = options.common()
        self._duration = self._old_duration = None
        if common.new_names:
            self._duration = meter.create_histogram(
                duration.name, duration.unit, duration.brief, explicit_bucket_boundaries_advisory=duration.buckets
            )
        if common.old_names:
            self._old_duration = meter.create_histogram(old_names.DURATION, "ms", duration.brief)
        # A request that a parent of this process was answering is the parent's.
        fork.register("active requests", fork.Order.ACTIVE_REQUESTS, after_in_child=self.reset_after_fork)

    def _observe(self, _: Any) -> Iterable[Observation]:
        return self.active.observe()

    def reset_after_fork(self) -> None:
        """Count only the requests of this process."""
        self.active.reset_after_fork()
        self.active = ActiveRequests()

    def measure(self, seconds: float, attributes: dict[str, Any], request: dict[str, Any], context: Context) -> None:
        """Record the duration of a request.

        Args:
            seconds: The duration.
            attributes: Attributes of the measurement.
            request: Attributes of the request, for the older names.
            context: The context of the request, for exemplars.
        """
        if self._duration is not None:
            self._duration.record(seconds, attributes, context)
        if self._old_duration is not None:
            self._old_duration.record(seconds * 1000, old_names.measured(attributes, request), context)


_made: Instruments | None = None
_lock = threading.Lock()


def get() -> Instruments:
    """Return the instruments of the current global providers."""
    global _made
    found = _made
    if found is None or found.provider is not trace.get_tracer_provider():
        with _lock:
            found = _made
            if found is None or found.provider is not trace.get_tracer_provider():
                found = _made = Instruments()
    return found
