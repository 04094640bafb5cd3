"""The one place that touches what OpenTelemetry keeps private, so that an upgrade of it breaks one file.

Everything is imported inside the functions: importing this module costs nothing and starts nothing.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from otel_distro._runtime import worker
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry._logs import SeverityNumber as SeverityNumber
    from opentelemetry._logs import get_logger as get_logger
    from opentelemetry._logs import get_logger_provider as get_logger_provider
    from opentelemetry.context import Context
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator
    from opentelemetry.sdk._logs import Logger as Logger
    from opentelemetry.sdk._logs import LoggerProvider as LoggerProvider
    from opentelemetry.sdk._logs import LogRecordProcessor as LogRecordProcessor
    from opentelemetry.sdk._logs import ReadableLogRecord as ReadableLogRecord
    from opentelemetry.sdk._logs import ReadWriteLogRecord as ReadWriteLogRecord
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor as BatchLogRecordProcessor
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter as InMemoryLogRecordExporter
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor as SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider as SDKMeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider, _Span
    from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics as NoOpTracerMetrics
    from opentelemetry.sdk.trace._tracer_metrics import noop as noop
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace.propagation import _SPAN_KEY
    from opentelemetry.util._importlib_metadata import entry_points as entry_points

    SDKConfigurator = _OTelSDKConfigurator
    SDK_SPAN = _Span
    SPAN_KEY = _SPAN_KEY

SIGNALS = ("traces", "metrics", "logs")

_LAZY = {
    "BatchLogRecordProcessor": "opentelemetry.sdk._logs.export",
    "InMemoryLogRecordExporter": "opentelemetry.sdk._logs.export",
    "SimpleLogRecordProcessor": "opentelemetry.sdk._logs.export",
    "Logger": "opentelemetry.sdk._logs",
    "LoggerProvider": "opentelemetry.sdk._logs",
    "LogRecordProcessor": "opentelemetry.sdk._logs",
    "ReadableLogRecord": "opentelemetry.sdk._logs",
    "ReadWriteLogRecord": "opentelemetry.sdk._logs",
    "SeverityNumber": "opentelemetry._logs",
    "get_logger": "opentelemetry._logs",
    "get_logger_provider": "opentelemetry._logs",
    "entry_points": "opentelemetry.util._importlib_metadata",
    "SDKConfigurator": "opentelemetry.sdk._configuration",
    "SDK_SPAN": "opentelemetry.sdk.trace",
    "SPAN_KEY": "opentelemetry.trace.propagation",
    "NoOpTracerMetrics": "opentelemetry.sdk.trace._tracer_metrics",
    "noop": "opentelemetry.sdk.trace._tracer_metrics",
}
"""Public classes in modules that are still named with an underscore, the logs' above all: name -> module."""


_PRIVATE = {"SDKConfigurator": "_OTelSDKConfigurator", "SDK_SPAN": "_Span", "SPAN_KEY": "_SPAN_KEY"}
"""Our names -> theirs."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LAZY[name]), _PRIVATE.get(name, name))
    return found


SPAN_FIELDS = attrgetter(
    "_context",
    "_parent",
    "_name",
    "_kind",
    "_start_time",
    "_end_time",
    "_attributes",
    "_events",
    "_links",
    "_status",
    "_resource",
    "_instrumentation_scope",
)
"""What a ``ReadableSpan`` or :data:`SDK_SPAN` of exactly that class holds, as a tuple: its properties make copies and cost
seven times more."""


LOGGER_FIELDS = attrgetter("_multi_log_record_processor._log_record_processors", "_logger_config", "_resource")
"""What may change of the SDK's ``Logger`` while a program runs: the tuple of processors, the configuration, the resource."""


def logger_limits(logger: Any) -> tuple[int | None, int | None]:
    """Return how many attributes a record of the SDK's ``Logger`` may have, and how long their texts may be."""
    limits = logger._log_record_limits
    return limits.max_log_record_attributes, limits.max_log_record_attribute_length


def always_samples(sampler: Any) -> tuple[bool, bool]:
    """Return whether the sampler samples every root, and every child of a sampled span of this process, unchanged."""
    known = _ALWAYS.get(id(sampler))
    if known is not None and known[0] is sampler:
        return known[1]
    from opentelemetry.sdk.trace import sampling as s

    def always(inner: Any) -> bool:
        return type(inner) in (s.StaticSampler, s._AlwaysOn) and inner._decision is s.Decision.RECORD_AND_SAMPLE

    if type(sampler) in (s.ParentBased, s.ParentBasedTraceIdRatio, s._ParentBasedAlwaysOn, s._ParentBasedAlwaysOff):
        found = (always(sampler._root), always(sampler._local_parent_sampled))
    else:
        found = (always(sampler), always(sampler))
    if len(_ALWAYS) > 100:
        _ALWAYS.clear()
    _ALWAYS[id(sampler)] = (sampler, found)
    return found


_ALWAYS: dict[int, tuple[Any, tuple[bool, bool]]] = {}
"""What was found of samplers, by identity, with the samplers themselves."""


def count_no_spans_twice() -> None:
    """Let tracers whose meters count nothing do without the SDK's counting, which costs as much as half a span."""
    from opentelemetry.metrics import NoOpMeterProvider
    from opentelemetry.sdk import trace
    from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics

    sdk: Any = trace
    create = sdk.create_tracer_metrics
    if create.__module__ == __name__:
        return

    def create_tracer_metrics(meter_provider: Any, enabled: bool) -> Any:
        return NoOpTracerMetrics() if type(meter_provider) is NoOpMeterProvider else create(meter_provider, enabled)

    sdk.create_tracer_metrics = create_tracer_metrics


def ask_detectors_in_turn() -> None:
    """Let the SDK ask its own resource detectors one after the other; to be called before anything of it is imported.

    It asks each in a thread, at import and again in every forked child. Those that come with it only look at this
    machine; under gevent the threads switch away in the middle, and after a fork there should be none. Detectors of
    other packages may ask the network and keep their threads and their time limit.
    """
    from opentelemetry.sdk import resources

    in_threads = resources.get_aggregated_resources

    def in_turn(detectors: Sequence[Any], initial_resource: Resource | None = None, timeout: int = 5) -> Resource:
        if any(type(detector).__module__ != resources.__name__ for detector in detectors):
            return in_threads(list(detectors), initial_resource, timeout)
        found = initial_resource or resources._DEFAULT_RESOURCE
        for detector in detectors:
            with guard(f"resource detector {type(detector).__name__}"):
                found = found.merge(detector.detect())
        return found

    resources.get_aggregated_resources = in_turn


def suppressed() -> AbstractContextManager[None]:
    """Return a context in which instrumentors record nothing: what we do ourselves is not the application's."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return cast("AbstractContextManager[None]", suppress_instrumentation())


worker.thread_context = suppressed


def context_reader() -> Callable[[], Context | None]:
    """Return a function that returns the current context, None where instrumentation is suppressed.

    It may be called anywhere, in an audit hook too: it imports nothing and takes no lock.
    """
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as KEY
    from opentelemetry.context import get_current

    get_current()

    def read() -> Context | None:
        current = get_current()
        return None if current.get(KEY) else current

    return read


def sampler_from_environment() -> Sampler | None:
    """Return the sampler of ``OTEL_TRACES_SAMPLER``, or None for the SDK's default."""
    from opentelemetry.sdk._configuration import _get_sampler, _import_sampler

    return _import_sampler(_get_sampler())


def id_generator_from_environment() -> IdGenerator | None:
    """Return the generator of ``OTEL_PYTHON_ID_GENERATOR``, or None for the SDK's default."""
    from opentelemetry.sdk._configuration import _get_id_generator, _import_id_generator

    name = _get_id_generator()
    return None if name == "random" else _import_id_generator(name)


def configurators_from_environment() -> tuple[Any, Any, Any]:
    """Return the tracer, meter and logger configurators that ``OTEL_PYTHON_*_CONFIGURATOR`` name, None where unset."""
    from opentelemetry.sdk import _configuration as c

    return (
        c._import_tracer_configurator(c._get_tracer_configurator()),
        c._import_meter_configurator(c._get_meter_configurator()),
        c._import_logger_configurator(c._get_logger_configurator()),
    )


def exporter_names(signal: str) -> list[str]:
    """Return the entry point names of the exporters chosen for ``signal``, protocol included."""
    from opentelemetry.sdk._configuration import _get_exporter_names

    return list(_get_exporter_names(signal))  # type: ignore[arg-type]


def exporter_class(signal: str, name: str) -> type[Any]:
    """Return the class of an installed exporter or metric reader. Raises ``RuntimeError`` when there is none."""
    from opentelemetry.sdk._configuration import _import_config_components

    return cast("type[Any]", _import_config_components([name], f"opentelemetry_{signal}_exporter")[0][1])


def opamp(stage: str, resource: Resource) -> None:
    """Run the OpAMP hook of ``stage`` (``pre`` or ``post``) where a package registers one."""
    from opentelemetry.sdk._configuration import _import_opamp

    init = _import_opamp(f"{stage}_sdk_init_function")  # type: ignore[arg-type]
    if init is not None:
        init(resource)


def metric_preferences() -> dict[str, Any]:
    """Return temporality and aggregation by instrument, as ``OTEL_EXPORTER_OTLP_METRICS_*`` prefer them."""
    from opentelemetry.exporter.otlp.common._aggregation import _get_aggregation, _get_temporality

    return {"preferred_temporality": _get_temporality(None), "preferred_aggregation": _get_aggregation(None)}


def merge_resource(providers: Sequence[Any], resource: Resource) -> None:
    """Merge ``resource`` into that of running providers, as the SDK itself does after a fork."""
    for provider in providers:
        provider._update_resource(resource)


def forget_measurements(provider: SDKMeterProvider) -> None:
    """Let every synchronous instrument start again at zero: a forked child must not report its parent's counts."""
    for storage in provider._measurement_consumer._reader_storages.values():
        for matches in storage._instrument_view_instrument_matches.values():
            for match in matches:
                match._attributes_aggregation.clear()


def has_measurements(provider: SDKMeterProvider) -> bool:
    """Return whether anything was recorded by a synchronous instrument since the start or the last forgetting."""
    from opentelemetry.metrics import Asynchronous

    return any(
        match._attributes_aggregation
        for storage in provider._measurement_consumer._reader_storages.values()
        for instrument, matches in list(storage._instrument_view_instrument_matches.items())
        if not isinstance(instrument, Asynchronous)
        for match in matches
    )


def set_providers(tracer: TracerProvider, meter: SDKMeterProvider, logger: LoggerProvider) -> None:
    """Make the providers the global ones."""
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.trace import set_tracer_provider

    set_meter_provider(meter)
    set_tracer_provider(tracer)
    set_logger_provider(logger)


def global_providers() -> tuple[Any, Any, Any]:
    """Return the global providers of traces, metrics and logs."""
    from opentelemetry.metrics import get_meter_provider
    from opentelemetry.trace import get_tracer_provider

    return get_tracer_provider(), get_meter_provider(), __getattr__("get_logger_provider")()


def keep_last(provider: LoggerProvider, processor: LogRecordProcessor) -> None:
    """Add a processor that stays behind those that are added later: what they change in a record is to be sent.

    Upstream's own shows changes made behind it, because it holds the record itself until it is exported.
    """
    provider.add_log_record_processor(processor)
    multi: Any = provider._multi_log_record_processor
    add = multi.add_log_record_processor

    def add_before(other: LogRecordProcessor) -> None:
        add(other)
        with multi._lock:
            others = (each for each in multi._log_record_processors if each is not processor)
            multi._log_record_processors = (*others, processor)

    multi.add_log_record_processor = add_before


def leave_no_exit_functions(providers: Sequence[Any]) -> None:
    """Take back what providers of the SDK have registered to be called at exit: there each waits as long as it likes."""
    import atexit

    for provider in providers:
        for name in ("_atexit_handler", "_at_exit_handler"):
            handler = getattr(provider, name, None)
            if handler is not None:
                atexit.unregister(handler)
                setattr(provider, name, None)


def replace_providers(tracer: TracerProvider, meter: SDKMeterProvider, logger: LoggerProvider) -> Callable[[], None]:
    """Make the providers the global ones, whatever was set before; return a function that puts that back.

    Tracers, meters and loggers that a module got before are taken along: by themselves they would stay for ever with the
    first provider they saw.
    """
    from opentelemetry import _logs, metrics, trace

    places: list[tuple[Any, str]] = [
        (trace, "_TRACER_PROVIDER"),
        (metrics._internal, "_METER_PROVIDER"),
        (_logs._internal, "_LOGGER_PROVIDER"),
    ]
    before = [(module, key, getattr(module, key)) for module, name in places for key in (name, f"{name}_SET_ONCE")]
    proxies: Any = (trace.ProxyTracer, _logs._internal.ProxyLogger)
    caching = (proxies[0]._tracer, proxies[1]._logger)

    def tracer_of(proxy: Any) -> Any:
        scope = (proxy._instrumenting_module_name, proxy._instrumenting_library_version)
        return tracer.get_tracer(*scope, schema_url=proxy._schema_url, attributes=proxy._attributes)

    def logger_of(proxy: Any) -> Any:
        return logger.get_logger(proxy._name, proxy._version, proxy._schema_url, proxy._attributes)

    def restore() -> None:
        proxies[0]._tracer, proxies[1]._logger = caching
        for module, key, value in before:
            setattr(module, key, value)
        meters: Any = metrics._internal._PROXY_METER_PROVIDER
        meters._real_meter_provider = metrics._internal._METER_PROVIDER
        for proxy in meters._meters:
            proxy._real_meter = None

    for module, name in places:
        setattr(module, name, None)
        setattr(module, f"{name}_SET_ONCE", type(getattr(module, f"{name}_SET_ONCE"))())
    proxies[0]._tracer, proxies[1]._logger = property(tracer_of), property(logger_of)
    set_providers(tracer, meter, logger)
    return restore
