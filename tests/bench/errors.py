"""What an exception costs: left by a span, captured, logged, in a future, described, and caught with nobody looking.

    python tests/bench/errors.py [--rounds 5]

Microseconds of CPU of the calling thread, the median of rounds; with the SDK alone first. Nothing is sent.
"""

from __future__ import annotations

import argparse
import os
import statistics
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

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 2000
DEPTH = 3


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
    """Catch it, for comparison."""
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
    """Put it into a future and read it there."""
    future: Future[None] = Future()
    try:
        fail()
    except ValueError as error:
        future.set_exception(error)
    future.exception()


def cost(work: Callable[[], None]) -> float:
    """Return microseconds of this thread for one call."""
    work()
    started = time.thread_time()
    for _ in range(COUNT):
        work()
    spent = time.thread_time() - started
    deferred.drain()
    return spent / COUNT * 1e6


def table(title: str, works: tuple[Callable[[], None], ...], rounds: int) -> None:
    """Print the median of each."""
    rows = {work.__name__: [cost(work) for _ in range(rounds)] for work in works}
    print(title, *(f"{name} {statistics.median(found):.1f}" for name, found in rows.items()), sep="\n  ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    resource = Resource({"service.name": "bench"})
    provider = TracerProvider(resource=resource)
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(resource=resource))
    sdk.get_logger_provider()
    TRACER = provider.get_tracer("bench")
    table("SDK alone, µs", (caught, on_span, in_future), rounds)
    ErrorTrackingInstrumentor().instrument()
    table("with error_tracking, µs", (caught, on_span, in_future, captured, described), rounds)
    os.environ["OTEL_DISTRO_ERROR_LOCALS"] = "true"
    table("with local variables, µs", (captured,), rounds)
