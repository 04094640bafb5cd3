"""Builds the SDK: resource, providers, and the pipeline they feed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_distro import schema, settings
from otel_distro._otel import components, patches, sdk
from otel_distro._otel.fast_measurements import SampledSpanExemplarFilter
from otel_distro._otel.logs import BatchLogRecordProcessor, LoggerProvider
from otel_distro._otel.patch import probe
from otel_distro._otel.safe_api import install_safe_api
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
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

    from otel_distro.export.log_file.writer import LogFile
    from otel_distro.export.pipeline import Pipeline

    ExporterNames = Mapping[str, list[str]]

_NOT_FOR_LOGS = ("traces", "metrics")
"""Queues that take no log records."""


def pipeline_exporter(signal: str) -> str:
    """Return the name of the exporter of ``signal`` that the pipeline replaces."""
    return "otlp_proto_grpc" if speaks_grpc(signal, os.environ) else "otlp_proto_http"


class Configurator:
    """The entry point ``opentelemetry_configurator``: builds one SDK per process."""

    lifecycle: ClassVar[Lifecycle | ExternalSdkLifecycle | None] = None

    def configure(self, **kwargs: Any) -> None:
        """Build the SDK from a checked environment.

        With ``OTEL_CONFIG_FILE`` upstream builds the SDK from the file, as the specification says;
        only its forks and its end are handled here.

        Args:
            kwargs: ``auto_instrumentation_version`` goes into the resource.
        """
        if Configurator.lifecycle is not None:
            return
        if path := os.environ.get("OTEL_CONFIG_FILE"):
            _build_from_file(path)
            Configurator.lifecycle = _external_lifecycle(sdk.global_providers())
            return
        resource = _resource(kwargs.get("auto_instrumentation_version"))
        components.opamp("pre", resource)
        Configurator.lifecycle = _build(resource)
        components.opamp("post", resource)


def _named(resource: Resource) -> Resource:
    """Return the resource with the program's name if neither the user nor a detector gave one."""
    given = str(resource.attributes.get(schema.SERVICE_NAME.name, ""))
    if not given.startswith("unknown_service") or os.environ.get("OTEL_SERVICE_NAME"):
        return resource
    name = default_service_name()
    return resource.merge(type(resource)({schema.SERVICE_NAME.name: name})) if name else resource


def _build_from_file(path: str) -> None:
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError as error:
        raise RuntimeError(
            "OTEL_CONFIG_FILE needs the package opentelemetry-configuration: pip install opentelemetry-configuration"
        ) from error
    configure_sdk(load_config_file(path))


def _external_lifecycle(providers: Sequence[Any]) -> ExternalSdkLifecycle:
    lifecycle = ExternalSdkLifecycle(providers, settings.OTEL_DISTRO_EXIT_TIMEOUT.get())
    with guard("following forks"):
        lifecycle.bind()
    return lifecycle


def _resource(auto_version: str | None) -> Resource:
    attributes = {
        schema.TELEMETRY_DISTRO_NAME.name: "otel-distro",
        schema.TELEMETRY_DISTRO_VERSION.name: __version__,
    }
    if auto_version:
        attributes["telemetry.auto.version"] = auto_version
    return _named(components.resource(attributes))


def _build(resource: Resource) -> Lifecycle:
    names = {signal: components.exporter_names(signal) for signal in sdk.SIGNALS}
    pipeline, reader = assemble(
        (signal for signal in names if pipeline_exporter(signal) in names[signal]),
        str(resource.attributes[schema.SERVICE_NAME.name]),
    )
    file = _log_file(pipeline)
    spans = QueueSpanProcessor(pipeline)
    logs = QueueLogRecordProcessor(pipeline, [queue for queue in pipeline.queues if queue not in _NOT_FOR_LOGS])
    span_processors = _span_processors(names, spans)
    log_processors = _log_processors(names, logs, has_file=file is not None)
    readers = _metric_readers(names, reader)
    # After the exporters of others, whose own metrics the variable switches on.
    reports_itself = components.take_over_self_metrics()
    meter_provider = _meter_provider(resource, readers)
    tracer_provider = _tracer_provider(resource, span_processors)
    logger_provider = _logger_provider(resource, log_processors, logs)
    if reports_itself:
        _report(pipeline, meter_provider, spans, logs, file)
    sdk.set_providers(tracer_provider, meter_provider, logger_provider)
    _watch_audit_file()
    lifecycle = _lifecycle(pipeline, (tracer_provider, meter_provider, logger_provider), spans, logs, file)
    with guard("wrapping the SDK"):
        install_safe_api(QueueSpanProcessor)
    with guard("checking the patches of OpenTelemetry"):
        probe(patches.PATCHES)
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


def _span_processors(names: ExporterNames, spans: QueueSpanProcessor) -> list[Any]:
    """Return a processor for each chosen exporter, in the user's order."""
    return [
        spans
        if name == pipeline_exporter("traces")
        else BatchSpanProcessor(components.exporter_class("traces", name)())
        for name in names["traces"]
    ]


def _log_processors(names: ExporterNames, logs: QueueLogRecordProcessor, *, has_file: bool) -> list[Any]:
    """Return a processor for each chosen exporter; the queue, if it is among them, comes last."""
    found: list[Any] = [
        BatchLogRecordProcessor(components.exporter_class("logs", name)())
        for name in names["logs"]
        if name != pipeline_exporter("logs")
    ]
    return [*found, logs] if has_file or pipeline_exporter("logs") in names["logs"] else found


def _metric_readers(names: ExporterNames, reader: MetricReader | None) -> list[MetricReader]:
    found = [_reader(name) for name in names["metrics"] if name != pipeline_exporter("metrics")]
    return [*found, reader] if reader is not None else found


def _reader(name: str) -> MetricReader:
    found = components.exporter_class("metrics", name)
    return found() if issubclass(found, MetricReader) else PeriodicExportingMetricReader(found())


def _meter_provider(resource: Resource, readers: Sequence[MetricReader]) -> MeterProvider:
    wanted = os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "trace_based").strip()
    return MeterProvider(
        readers,
        resource,
        exemplar_filter=SampledSpanExemplarFilter() if wanted == "trace_based" else None,
        shutdown_on_exit=False,
        **components.scope_configurator("meter"),
    )


def _tracer_provider(resource: Resource, processors: Sequence[Any]) -> TracerProvider:
    provider = TracerProvider(
        sampler=components.sampler(),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=components.id_generator(),
        meter_provider=NoOpMeterProvider(),
        **components.scope_configurator("tracer"),
    )
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def _logger_provider(resource: Resource, processors: Sequence[Any], last: QueueLogRecordProcessor) -> LoggerProvider:
    provider = LoggerProvider(
        resource,
        shutdown_on_exit=False,
        multi_log_record_processor=sdk.processors_with_last(last),
        meter_provider=NoOpMeterProvider(),
        **components.scope_configurator("logger"),
    )
    for processor in processors:
        provider.add_log_record_processor(processor)
    return provider


def _report(
    pipeline: Pipeline,
    provider: MeterProvider,
    spans: QueueSpanProcessor,
    logs: QueueLogRecordProcessor,
    file: LogFile | None,
) -> None:
    """Let the pipeline report on itself."""
    meter = provider.get_meter("otel_distro", __version__)
    report_to(pipeline, meter)
    report_span_and_log_counters(meter, spans.counter, logs.counter)
    if file is not None:
        file.report_to(meter)


def _watch_audit_file() -> None:
    if settings.OTEL_DISTRO_AUDIT_FILE.get():
        from otel_distro import audit

        audit.watch()


def _lifecycle(
    pipeline: Pipeline,
    providers: tuple[TracerProvider, MeterProvider, LoggerProvider],
    spans: QueueSpanProcessor,
    logs: QueueLogRecordProcessor,
    file: LogFile | None,
) -> Lifecycle:
    lifecycle = Lifecycle(
        pipeline,
        *providers,
        budget=settings.OTEL_DISTRO_EXIT_TIMEOUT.get(),
        # An explicit timeout is never extended.
        longest=0.0 if settings.OTEL_DISTRO_EXIT_TIMEOUT.is_set() else MAX_EXIT_TIMEOUT_S,
    )
    _reset_after_fork("count of spans", spans.counter.reset_after_fork)
    _reset_after_fork("count of log records", logs.counter.reset_after_fork)
    _reset_after_fork("count of redacted values", redact.reset_after_fork)
    if file is not None:
        _reset_after_fork("log file", file.reset_after_fork)
    return lifecycle
