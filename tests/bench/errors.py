"""Cost of an exception: caught, left by a span, in a future, captured, described.

    python -m tests.bench.errors [--rounds 5]

Microseconds of CPU of the calling thread, the median of rounds, with error tracking and with the
SDK alone in turns. Capturing and describing have no counterpart upstream: their cost is compared
with an exception that leaves a span, which the SDK records. Nothing is sent.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_distro._otel import sdk
from otel_distro.errors import capture, deferred
from otel_distro.errors.exception_report import describe
from otel_distro.instrumentation.error_tracking import ErrorTrackingInstrumentor
from tests.bench import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNT = 2000
DEPTH = 3
TRACER = trace.get_tracer("bench")


def fail(depth: int = DEPTH) -> None:
    """Raise some frames down."""
    if depth:
        fail(depth - 1)
    raise ValueError("no stock")


def on_span() -> None:
    """Leave a span by an exception."""
    try:
        with TRACER.start_as_current_span("work"):
            fail()
    except ValueError:
        return


def caught() -> None:
    """Catch it."""
    try:
        fail()
    except ValueError:
        return


def captured() -> None:
    """Capture it."""
    with capture("work"):
        fail()


def described() -> None:
    """Describe it, as a log record with ``exc_info`` does."""
    try:
        fail()
    except ValueError as error:
        describe(error, handler="log", handled=True)


def in_future() -> None:
    """Set it on a future and read it there."""
    future: Future[None] = Future()
    try:
        fail()
    except ValueError as error:
        future.set_exception(error)
    future.exception()


WORKS: tuple[tuple[str, Callable[[], None], Callable[[], None], str], ...] = (
    ("caught", caught, caught, "false"),
    ("leaves a span", on_span, on_span, "false"),
    ("in a future", in_future, in_future, "false"),
    ("captured", captured, on_span, "false"),
    ("captured with local variables", captured, on_span, "true"),
    ("described", described, on_span, "false"),
)
"""Name, work with error tracking, counterpart with the SDK alone, ``OTEL_DISTRO_ERROR_LOCALS``."""


def cost(work: Callable[[], None]) -> float:
    """Return microseconds of this thread for one call."""
    work()
    started = time.thread_time()
    for _ in range(COUNT):
        work()
    spent = time.thread_time() - started
    deferred.drain()
    return spent / COUNT * 1e6


def measure(rounds: int) -> Iterator[row.Row]:
    """Measure with and without error tracking in turns."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        resource = Resource({"service.name": "bench"})
        trace.set_tracer_provider(TracerProvider(resource=resource, shutdown_on_exit=False))
        metrics.set_meter_provider(MeterProvider(resource=resource, shutdown_on_exit=False))
        sdk.get_logger_provider()
        instrumentor = ErrorTrackingInstrumentor()
        alone: dict[str, list[float]] = {name: [] for name, _, _, _ in WORKS}
        distro: dict[str, list[float]] = {name: [] for name, _, _, _ in WORKS}
        for _ in range(rounds):
            for name, _, counterpart, _ in WORKS:
                alone[name].append(cost(counterpart))
            instrumentor.instrument()
            for name, work, _, local_variables in WORKS:
                os.environ["OTEL_DISTRO_ERROR_LOCALS"] = local_variables
                distro[name].append(cost(work))
            instrumentor.uninstrument()
    for name, costs in distro.items():
        yield row.row(name, costs, alone[name], "us")


if __name__ == "__main__":
    row.main(__doc__, measure, 5)
