"""An exception that a signal handler of the application raises is never swallowed."""

from __future__ import annotations

import functools
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_distro._otel.fast_measurements import SampledSpanExemplarFilter
from otel_distro._otel.safe_api import install_safe_api
from otel_distro._runtime.diagnostics import guard
from otel_distro.export.processors import QueueSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

install_safe_api(QueueSpanProcessor)
CALLS = 20_000


def time_out(*_: object) -> None:
    raise TimeoutError("too long")


class Ending:
    """A handler that is an object."""

    def end(self, *_: object) -> None:
        """End the program."""
        sys.exit(3)

    __call__ = end


HANDLERS: dict[str, tuple[Any, type[BaseException]]] = {
    "function": (time_out, TimeoutError),
    "method": (Ending().end, SystemExit),
    "partial": (functools.partial(time_out, 1), TimeoutError),
    "object": (Ending(), SystemExit),
}


@pytest.fixture
def calls() -> dict[str, Callable[[], object]]:
    """A call that records a number, and one of a guarded part of telemetry."""
    provider = MeterProvider(
        [InMemoryMetricReader()], shutdown_on_exit=False, exemplar_filter=SampledSpanExemplarFilter()
    )
    histogram = provider.get_meter("app").create_histogram("made")

    def guarded() -> None:
        with guard("a test"):
            sum(range(100))

    return {
        "number": lambda: histogram.record(1, {"a": 1, "b": 2}),
        "guard": guarded,
    }


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("name", ["number", "guard"])
def test_exception_of_signal_handler_passes_at_any_moment(
    calls: dict[str, Callable[[], object]], name: str, handler: tuple[Any, type[BaseException]]
) -> None:
    """A program that records all the time ends at its signal, or its call times out."""
    function, kind = handler
    call = calls[name]
    before = signal.signal(signal.SIGALRM, function)
    try:
        for number in range(10):
            with pytest.raises(kind):
                signal.setitimer(signal.ITIMER_REAL, 0.001 + number / 37_000)
                for _ in range(CALLS):
                    call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
