"""Other global providers for the time of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._otel import patches, sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from otel_distro._otel.logs import LoggerProvider


def replace_providers(tracer: TracerProvider, meter: MeterProvider, logger: LoggerProvider) -> Callable[[], None]:
    """Make the providers the global ones, whatever was set before.

    Tracers, meters and loggers that a module has already got follow: by themselves they would stay
    with the first provider they saw. Where the patch is off, OpenTelemetry takes the first
    providers of a process and no others.

    Returns:
        A function that restores what was set before.
    """
    from opentelemetry import trace

    if not patches.TEST_PROVIDERS.on:
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            sdk.set_providers(tracer, meter, logger)
        return lambda: None
    from opentelemetry import _logs, metrics

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
    sdk.set_providers(tracer, meter, logger)
    return restore
