"""Access to the private parts of OpenTelemetry's SDK that the package uses.

Everything is imported inside the functions: importing this module costs nothing and starts nothing.
What is private is declared in :mod:`otel_distro._otel.patches`, which checks that it is there.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from otel_distro._otel import logs, metric_patches, patches
from otel_distro._runtime import worker
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.sdk.metrics import MeterProvider as SDKMeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider, _Span

    from otel_distro._otel.logs import BatchLogRecordProcessor as BatchLogRecordProcessor
    from otel_distro._otel.logs import InMemoryLogRecordExporter as InMemoryLogRecordExporter
    from otel_distro._otel.logs import Logger as Logger
    from otel_distro._otel.logs import LoggerProvider as LoggerProvider
    from otel_distro._otel.logs import LogRecordProcessor as LogRecordProcessor
    from otel_distro._otel.logs import ReadableLogRecord as ReadableLogRecord
    from otel_distro._otel.logs import ReadWriteLogRecord as ReadWriteLogRecord
    from otel_distro._otel.logs import SeverityNumber as SeverityNumber
    from otel_distro._otel.logs import SimpleLogRecordProcessor as SimpleLogRecordProcessor
    from otel_distro._otel.logs import get_logger as get_logger
    from otel_distro._otel.logs import get_logger_provider as get_logger_provider

    SDK_SPAN = _Span
    SPAN_KEY: str
    SPAN_CLASSES: tuple[type, ...]
    SPAN_FIELDS: Callable[[Any], tuple[Any, ...]]
    LOGGER_FIELDS: Callable[[Any], tuple[Any, Any, Any]]

SIGNALS = ("traces", "metrics", "logs")

SERIES_CACHE = "series_known_to_otel_distro"
"""Attribute of an instrument: the series that :mod:`otel_distro._otel.fast_instruments` found."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        found = _LAZY[name]()
    elif name in logs.NAMES:
        found = getattr(logs, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def _sdk_span() -> type:
    """Return the class of the spans that the SDK's tracers start; :class:`_NoSpan` if unknown."""
    from opentelemetry.sdk import trace

    return cast("type", getattr(trace, "_Span", _NoSpan))


class _NoSpan:
    """No span is of this class."""


def _span_key() -> str:
    """Return the key under which a context holds its span."""
    from opentelemetry.context import Context
    from opentelemetry.trace import INVALID_SPAN, set_span_in_context

    return next(iter(set_span_in_context(INVALID_SPAN, Context())))


def _span_classes() -> tuple[type, ...]:
    """Return the classes of spans whose fields :data:`SPAN_FIELDS` reads."""
    if not patches.SPAN_FIELDS.on:
        return ()
    from opentelemetry.sdk.trace import ReadableSpan

    return (_sdk_span(), ReadableSpan)


def _span_fields() -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads the fields of a span of exactly one of :data:`SPAN_CLASSES`.

    The public properties of a span make copies and cost seven times more.
    """
    return attrgetter(*patches.FIELDS_OF_SPAN)


def _logger_fields() -> Callable[[Any], tuple[Any, Any, Any]]:
    """Return what reads of the SDK's ``Logger`` what may change while a program runs.

    These are the tuple of processors, the configuration and the resource. Without processors, as
    here where the patch is off, records take the SDK's way.
    """
    if not patches.FAST_LOGS.on:
        return lambda _: ((), None, None)
    return attrgetter("_multi_log_record_processor._log_record_processors", "_logger_config", "_resource")


_LAZY: dict[str, Callable[[], Any]] = {
    "SDK_SPAN": _sdk_span,
    "SPAN_KEY": _span_key,
    "SPAN_CLASSES": _span_classes,
    "SPAN_FIELDS": _span_fields,
    "LOGGER_FIELDS": _logger_fields,
}


def logger_limits(logger: Any) -> tuple[int | None, int | None]:
    """Return how many attributes a record of the SDK's ``Logger`` may have, and their length."""
    # Before 1.45, and where the field is gone, the limits are those of the environment.
    limits = getattr(logger, "_log_record_limits", None) or logs.LogRecordLimits()
    return limits.max_log_record_attributes, limits.max_log_record_attribute_length


def run_detectors_in_turn() -> None:
    """Let the SDK run its own resource detectors one after the other, not in threads.

    It runs each in a thread, also in every forked child. Those that come with it only read this
    machine; under gevent the threads switch away in the middle, and after a fork there should be
    none. Detectors of other packages may use the network and keep their threads and time limit.
    """
    patches.DETECTORS.install(_run_detectors_in_turn)


def _run_detectors_in_turn() -> None:
    from opentelemetry.sdk import resources

    in_threads = resources.get_aggregated_resources
    if in_threads.__module__ == __name__:
        return

    def get_aggregated_resources(
        detectors: Sequence[Any], initial_resource: Resource | None = None, timeout: int = 5
    ) -> Resource:
        if any(type(detector).__module__ != resources.__name__ for detector in detectors):
            return in_threads(list(detectors), initial_resource, timeout)
        found = initial_resource or resources.Resource.create()
        for detector in detectors:
            with guard(f"resource detector {type(detector).__name__}"):
                found = found.merge(detector.detect())
        return found

    resources.get_aggregated_resources = get_aggregated_resources


def suppressed() -> AbstractContextManager[None]:
    """Return a context in which instrumentors record nothing: for calls of the package itself."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return cast("AbstractContextManager[None]", suppress_instrumentation())


worker.thread_context = suppressed


def context_reader() -> Callable[[], Context | None]:
    """Return a function that returns the current context, None where instrumentation is suppressed.

    It may be called anywhere, in an audit hook too: it imports nothing and takes no lock.
    """
    from opentelemetry.context import get_current
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    get_current()

    def read() -> Context | None:
        return get_current() if is_instrumentation_enabled() else None

    return read


def merge_resource(providers: Sequence[Any], resource: Resource) -> None:
    """Merge ``resource`` into that of running providers, as the SDK itself does after a fork."""
    if patches.FORK_RESOURCE.on:
        for provider in providers:
            provider._update_resource(resource)


def forget_measurements(provider: SDKMeterProvider) -> None:
    """Reset every instrument to zero: a forked child must not report its parent's counts."""
    if metric_patches.COUNTER_RESET.on:
        for instrument, match in _matches(provider):
            match._attributes_aggregation.clear()
            vars(instrument).pop(SERIES_CACHE, None)


def has_measurements(provider: SDKMeterProvider) -> bool:
    """Return whether a synchronous instrument recorded anything since the last reset."""
    from opentelemetry.metrics import Asynchronous

    return not metric_patches.COUNTER_RESET.on or any(
        match._attributes_aggregation
        for instrument, match in _matches(provider)
        if not isinstance(instrument, Asynchronous)
    )


def has_recorded(*names: str) -> bool:
    """Return whether the global meter provider has measurements of one of these metrics."""
    from opentelemetry.metrics import get_meter_provider
    from opentelemetry.sdk.metrics import MeterProvider

    provider = get_meter_provider()
    return (
        metric_patches.COUNTER_RESET.on
        and isinstance(provider, MeterProvider)
        and any(instrument.name in names and match._attributes_aggregation for instrument, match in _matches(provider))
    )


def _matches(provider: SDKMeterProvider) -> Iterator[tuple[Any, Any]]:
    """Yield each instrument with its series, once per reader."""
    consumer: Any = provider._measurement_consumer
    for storage in consumer._reader_storages.values():
        for instrument, matches in list(storage._instrument_view_instrument_matches.items()):
            for match in matches:
                yield instrument, match


def set_providers(tracer: TracerProvider, meter: SDKMeterProvider, logger: LoggerProvider) -> None:
    """Make the providers the global ones."""
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.trace import set_tracer_provider

    set_meter_provider(meter)
    set_tracer_provider(tracer)
    logs.set_logger_provider(logger)


def global_providers() -> tuple[Any, Any, Any]:
    """Return the global providers of traces, metrics and logs."""
    from opentelemetry.metrics import get_meter_provider
    from opentelemetry.trace import get_tracer_provider

    return get_tracer_provider(), get_meter_provider(), logs.get_logger_provider()


def processors_with_last(last: Any) -> Any:
    """Return an empty list of log processors in which ``last``, once added, stays last.

    What the others change in a record is then exported. Upstream's own exporters show such changes
    because they hold the record itself until it is exported.
    """
    ordered: Any = logs.SynchronousMultiLogRecordProcessor
    if patches.LOG_ORDER.on:
        ordered = _ordered(ordered, last)
    return ordered()


def _ordered(base: Any, last: Any) -> Any:
    class OrderedProcessors(base):
        _log_record_processors: Any

        """Keeps one processor behind all others."""

        def add_log_record_processor(self, log_record_processor: Any) -> None:
            """Add a processor before the last one."""
            super().add_log_record_processor(log_record_processor)
            with self._lock:
                found = self._log_record_processors
                if last in found:
                    self._log_record_processors = (*(each for each in found if each is not last), last)

    return OrderedProcessors


def remove_exit_handlers(providers: Sequence[Any]) -> None:
    """Unregister what the SDK's providers run at exit: each waits there as long as it likes."""
    import atexit

    for provider in providers:
        # Equal to the bound method that the provider has registered.
        atexit.unregister(provider.shutdown)
