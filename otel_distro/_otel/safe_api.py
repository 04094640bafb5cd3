"""The SDK's API, wrapped so that it never raises into the application.

Some of its calls raise for a value that raises in ``__str__``, a container that is too deep, a
value that is not a number, or a name that is not ASCII. Here such a call loses its arguments, and
nothing else happens.

Source: https://opentelemetry.io/docs/specs/otel/error-handling/
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics import Counter, Histogram, Meter, UpDownCounter
from opentelemetry.sdk.trace import Span, Tracer

from otel_distro._otel import patches
from otel_distro._otel.fast_instruments import install_fast_instruments
from otel_distro._otel.fast_measurements import install_fast_measurements
from otel_distro._otel.fast_spans import install_fast_path
from otel_distro._otel.logs import Logger
from otel_distro._runtime.diagnostics import is_of_signal_handler, report_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro._otel.fast_spans import SpanQueue

_RECORDING = (
    (
        Span,
        ("set_attribute", "set_attributes", "add_event", "add_link", "record_exception", "set_status", "update_name"),
    ),
    (Counter, ("add",)),
    (UpDownCounter, ("add",)),
    (Histogram, ("record",)),
    (Logger, ("emit",)),
)
_CREATING = (
    "create_counter",
    "create_up_down_counter",
    "create_histogram",
    "create_gauge",
    "create_observable_counter",
    "create_observable_up_down_counter",
    "create_observable_gauge",
)
# SystemExit too: a value whose __str__ raises it did not mean to end the program at this place.
_CAUGHT = (Exception, SystemExit)


def install_safe_api(queue_type: type[SpanQueue]) -> None:
    """Wrap the methods that record and create, and install the fast paths.

    Harmless when called again.
    """
    if hasattr(Tracer.start_span, "guarded_by_otel_distro"):
        return
    patches.SAFE_API.install(_install)
    install_fast_path(Tracer.start_span, Span.end, Span.set_attribute, queue_type)
    install_fast_measurements()
    install_fast_instruments()


def _install() -> None:
    for owner, names in _RECORDING:
        for name in names:
            _wrap(owner, name, lambda *_, **__: None)
    for name in _CREATING:
        _wrap(Meter, name, functools.partial(_no_instrument, name))
    _wrap(Tracer, "start_span", _bare_span)


def _wrap(owner: type, name: str, instead: Callable[..., Any]) -> None:
    original = getattr(owner, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except RecursionError:
            return instead(original, *args, **kwargs)
        except _CAUGHT as error:
            if is_of_signal_handler(error):
                raise
            report_failure(f"{owner.__name__}.{name}", error)
            return instead(original, *args, **kwargs)

    guarded.guarded_by_otel_distro = True  # type: ignore[attr-defined]
    setattr(owner, name, guarded)


def _no_instrument(name: str, *_: Any, **__: Any) -> Any:
    return getattr(NoOpMeter("otel_distro"), name)("otel_distro.refused")


def _bare_span(original: Callable[..., Any], tracer: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
    """Start the span without its arguments, or return one that records nothing."""
    context = kwargs.get("context") or (args[0] if args else None)
    try:
        return original(tracer, name if isinstance(name, str) else "unnamed", context)
    except _CAUGHT:
        return trace.INVALID_SPAN
