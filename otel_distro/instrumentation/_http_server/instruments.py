"""The tracer and the metrics of requests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import Observation

from otel_distro import schema
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import fork
from otel_distro._runtime.worker import run_in_thread
from otel_distro._version import __version__
from otel_distro.instrumentation._http_server import old_names, options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context

    from otel_distro.instrumentation._http_server.request import ServerRequest

SCOPE: Final = "otel_distro.http_server"
_INTERRUPT_TIMEOUT_S: Final = 0.2
_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"


class ActiveRequests:
    """The requests that are being answered.

    The metric counts them when it is collected, which costs a request less than two measurements.
    """

    def __init__(self) -> None:
        self._open: set[ServerRequest] = set()
        self._seen: dict[tuple[str, str], None] = {}

    def enter(self, request: ServerRequest) -> None:
        """Add a request."""
        if request.is_http:
            self._seen[request.kind] = None
        self._open.add(request)

    def leave(self, request: ServerRequest) -> None:
        """Remove a request."""
        self._open.discard(request)

    def observe(self) -> list[Observation]:
        """Return one observation for each method and scheme that was ever seen."""
        counts = dict.fromkeys(self._seen, 0)
        for request in self._open.copy():
            if request.is_http and not request.ended:
                counts[request.kind] += 1
        method, scheme = schema.HTTP_REQUEST_METHOD.name, schema.URL_SCHEME.name
        return [Observation(count, {method: key[0], scheme: key[1]}) for key, count in counts.items()]

    def interrupt(self) -> None:
        """End all requests: the process ends.

        In a thread of its own: a signal may have interrupted this one where it holds a lock.
        """
        if self._open:
            done = run_in_thread("the end of open requests", self._interrupt)
            done.acquire(True, _INTERRUPT_TIMEOUT_S)

    def _interrupt(self) -> None:
        for request in self._open.copy():
            request.interrupt()


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
        process_exit.register("open requests", process_exit.Order.OPEN_REQUESTS, before_end=self.interrupt)

    def _observe(self, _: Any) -> Iterable[Observation]:
        return self.active.observe()

    def interrupt(self) -> None:
        """End the requests of this process, which ends."""
        self.active.interrupt()

    def reset_after_fork(self) -> None:
        """Count only the requests of this process."""
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
