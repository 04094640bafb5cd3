"""The SDK's own API, made to keep its mistakes to itself.

Some calls of it raise into the application when they are given a value that raises in ``__str__``, a container that is too
deep, a number that is none or a name that is not ASCII. Here such a call loses what it was given, and nothing else.

Source: https://opentelemetry.io/docs/specs/otel/error-handling/
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics import Counter, Histogram, Meter, UpDownCounter
from opentelemetry.sdk.trace import Span, Tracer

from otel_distro._otel import metrics
from otel_distro._otel.fast_spans import install_fast_path
from otel_distro._otel.sdk import Logger
from otel_distro._runtime.diagnostics import report_failure

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
_OURS = (Exception, SystemExit)


def install_safe_api(queue_type: type[SpanQueue]) -> None:
    """Wrap what records and creates, and quicken the way of the usual span. Harmless when called again."""
    if hasattr(Tracer.start_span, "guarded_by_otel_distro"):
        return
    for owner, names in _RECORDING:
        for name in names:
            _wrap(owner, name, lambda *_, **__: None)
    for name in _CREATING:
        _wrap(Meter, name, functools.partial(_no_instrument, name))
    _wrap(Tracer, "start_span", _bare_span)
    install_fast_path(Tracer.start_span, Span.end, Span.set_attribute, queue_type)
    metrics.install_fast_measurements()


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
        except _OURS as error:
            report_failure(f"{owner.__name__}.{name}", error)
            return instead(original, *args, **kwargs)

    guarded.guarded_by_otel_distro = True  # type: ignore[attr-defined]
    setattr(owner, name, guarded)


def _no_instrument(name: str, *_: Any, **__: Any) -> Any:
    return getattr(NoOpMeter("otel_distro"), name)("otel_distro.refused")


def _bare_span(original: Callable[..., Any], tracer: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
    """Start the span without what came with it, or none at all."""
    context = kwargs.get("context") or (args[0] if args else None)
    try:
        return original(tracer, name if isinstance(name, str) else "unnamed", context)
    except _OURS:
        return trace.INVALID_SPAN
