"""Builds the SDK: resource, providers, and the pipeline they feed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_distro import schema, settings
from otel_distro._otel import sdk
from otel_distro._otel.safe_api import install_safe_api
from otel_distro._otel.sdk import BatchLogRecordProcessor, LoggerProvider
from otel_distro._runtime import fork
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__
from otel_distro.environment.otlp import speaks_grpc
from otel_distro.environment.service_name import default_service_name
from otel_distro.export.build import assemble, report_to
from otel_distro.export.encode import redact
from otel_distro.export.external_sdk import ExternalSdkLifecycle
from otel_distro.export.lifecycle import Lifecycle
from otel_distro.export.processors import QueueLogRecordProcessor, QueueSpanProcessor
from otel_distro.export.self_metrics import report_span_and_log_counters
from otel_distro.export.send.delivery import MAX_EXIT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_distro.export.log_file.writer import LogFile
    from otel_distro.export.pipeline import Pipeline


def ours(signal: str) -> str:
    """Return the exporter of ``signal`` that our own pipeline takes the place of; any other is upstream's or the user's."""
    return "otlp_proto_grpc" if speaks_grpc(signal, os.environ) else "otlp_proto_http"


class Configurator(sdk.SDKConfigurator):
    """The entry point ``opentelemetry_configurator``; one process builds one SDK, however often it is called."""

    lifecycle: Lifecycle | ExternalSdkLifecycle | None = None

    def _configure(self, **kwargs: Any) -> None:
        """Build the SDK from a checked environment.

        ``auto_instrumentation_version`` goes into the resource. With ``OTEL_CONFIG_FILE`` the SDK is what the file
        says, built by upstream, as the specification wants it; only the care for the end of the process is ours.
        """
        if Configurator.lifecycle is not None:
            return
        if os.environ.get("OTEL_CONFIG_FILE"):
            super()._configure()
            Configurator.lifecycle = _follow(sdk.global_providers())
            return
        resource = self._resource(kwargs.get("auto_instrumentation_version"))
        sdk.opamp("pre", resource)
        Configurator.lifecycle = _build(resource)
        sdk.opamp("post", resource)

    @staticmethod
    def _resource(auto_version: str | None) -> Resource:
        attributes = {
            schema.TELEMETRY_DISTRO_NAME.name: "otel-distro",
            schema.TELEMETRY_DISTRO_VERSION.name: __version__,
        }
        if auto_version:
            attributes["telemetry.auto.version"] = auto_version
        return _named(Resource.create(attributes))


def _named(resource: Resource) -> Resource:
    """Return the resource with the program's name where neither the user nor a detector gave one."""
    given = str(resource.attributes.get(schema.SERVICE_NAME.name, ""))
    if not given.startswith("unknown_service") or os.environ.get("OTEL_SERVICE_NAME"):
        return resource
    name = default_service_name()
    return resource.merge(Resource({schema.SERVICE_NAME.name: name})) if name else resource


def _follow(providers: Sequence[Any]) -> ExternalSdkLifecycle:
    sdk = ExternalSdkLifecycle(providers, settings.OTEL_DISTRO_EXIT_TIMEOUT.get())
    with guard("following forks"):
        sdk.bind()
    return sdk


def _build(resource: Resource) -> Lifecycle:
    with guard("counting spans"):
        sdk.count_no_spans_twice()
    tracer_configurator, meter_configurator, logger_configurator = sdk.configurators_from_environment()
    names = {signal: sdk.exporter_names(signal) for signal in sdk.SIGNALS}
    pipeline, reader = assemble(
        (signal for signal in names if ours(signal) in names[signal]),
        str(resource.attributes[schema.SERVICE_NAME.name]),
    )
    readers = [_reader(name) for name in names["metrics"] if name != ours("metrics")]
    meter_provider = MeterProvider(
        [*readers, *([reader] if reader is not None else [])],
        resource,
        shutdown_on_exit=False,
        _meter_configurator=meter_configurator,
    )
    tracer_provider = TracerProvider(
        sampler=sdk.sampler_from_environment(),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=sdk.id_generator_from_environment(),
        # The SDK's counters of itself cost as much as the span they count: ours take their place.
        meter_provider=NoOpMeterProvider(),
        _tracer_configurator=tracer_configurator,
    )
    logger_provider = LoggerProvider(
        resource,
        shutdown_on_exit=False,
        meter_provider=NoOpMeterProvider(),
        _logger_configurator=logger_configurator,
    )
    spans = QueueSpanProcessor(pipeline)
    file = _log_file(pipeline)
    logs = QueueLogRecordProcessor(pipeline, [queue for queue in pipeline.queues if queue not in ("traces", "metrics")])
    for name in names["traces"]:
        tracer_provider.add_span_processor(
            spans if name == ours("traces") else BatchSpanProcessor(sdk.exporter_class("traces", name)())
        )
    for name in names["logs"]:
        if name != ours("logs"):
            logger_provider.add_log_record_processor(BatchLogRecordProcessor(sdk.exporter_class("logs", name)()))
    if ours("logs") in names["logs"] or file is not None:
        sdk.keep_last(logger_provider, logs)
    if os.environ.get("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "").strip().lower() != "false":
        meter = meter_provider.get_meter("otel_distro", __version__)
        report_to(pipeline, meter)
        report_span_and_log_counters(meter, spans.counter, logs.counter)
        if file is not None:
            file.report_to(meter)
    sdk.set_providers(tracer_provider, meter_provider, logger_provider)
    if settings.OTEL_DISTRO_AUDIT_FILE.get():
        from otel_distro import audit

        audit.watch()

    lifecycle = Lifecycle(
        pipeline,
        tracer_provider,
        meter_provider,
        logger_provider,
        budget=settings.OTEL_DISTRO_EXIT_TIMEOUT.get(),
        # Who has set the time means it.
        longest=0.0 if settings.OTEL_DISTRO_EXIT_TIMEOUT.is_set() else MAX_EXIT_TIMEOUT_S,
    )
    _reset_after_fork("count of spans", spans.counter.reset_after_fork)
    _reset_after_fork("count of log records", logs.counter.reset_after_fork)
    _reset_after_fork("count of redacted values", redact.reset_after_fork)
    if file is not None:
        _reset_after_fork("log file", file.reset_after_fork)
    with guard("guarding the SDK"):
        install_safe_api(QueueSpanProcessor)
    with guard("following forks"):
        lifecycle.bind()
    return lifecycle


def _reset_after_fork(name: str, callback: Callable[[], object]) -> None:
    fork.register(name, fork.Order.EXPORT_STATE, after_in_child=callback)


def _log_file(pipeline: Pipeline) -> LogFile | None:
    if not settings.OTEL_DISTRO_LOG_FILE.get():
        return None
    from otel_distro.export.log_file.writer import add_log_file

    return add_log_file(pipeline.queues)


def _reader(name: str) -> MetricReader:
    found = sdk.exporter_class("metrics", name)
    return found() if issubclass(found, MetricReader) else PeriodicExportingMetricReader(found())
