"""Builds the SDK: resource, providers, and the pipeline they feed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_distro import _upstream, schema, settings
from otel_distro._guard import guard
from otel_distro._version import __version__
from otel_distro.export.lane import Lane
from otel_distro.export.lifecycle import Lifecycle
from otel_distro.export.pipeline import Pipeline
from otel_distro.export.processors import QueueLogRecordProcessor, QueueMetricReader, QueueSpanProcessor
from otel_distro.export.self_metrics import LaneMetrics
from otel_distro.export.sender import Sender
from otel_distro.export.target import target

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

OURS = "otlp_proto_http"
"""The exporter that our own pipeline takes the place of; every other one is upstream's or the user's."""


class Configurator(_OTelSDKConfigurator):
    """The entry point ``opentelemetry_configurator``; one process builds one SDK, however often it is called."""

    lifecycle: Lifecycle | None = None

    def _configure(self, **kwargs: Any) -> None:
        """Build the SDK from a checked environment.

        ``auto_instrumentation_version`` goes into the resource. With ``OTEL_CONFIG_FILE`` the SDK is what the file
        says, built by upstream, as the specification wants it.
        """
        if Configurator.lifecycle is not None:
            return
        if os.environ.get("OTEL_CONFIG_FILE"):
            super()._configure(**kwargs)
            return
        resource = self._resource(kwargs.get("auto_instrumentation_version"))
        _upstream.opamp("pre", resource)
        Configurator.lifecycle = _build(resource)
        _upstream.opamp("post", resource)

    @staticmethod
    def _resource(auto_version: str | None) -> Resource:
        attributes = {
            schema.TELEMETRY_DISTRO_NAME.name: "otel-distro",
            schema.TELEMETRY_DISTRO_VERSION.name: __version__,
        }
        if auto_version:
            attributes["telemetry.auto.version"] = auto_version
        return Resource.create(attributes)


def _build(resource: Resource) -> Lifecycle:
    tracer_configurator, meter_configurator, logger_configurator = _upstream.configurators_from_environment()
    names = {signal: _upstream.exporter_names(signal) for signal in _upstream.SIGNALS}
    encoders = _upstream.encoders()

    lanes: dict[str, Lane] = {}
    readers: list[MetricReader] = [_reader(name) for name in names["metrics"] if name != OURS]
    ours: QueueMetricReader | None = None
    if OURS in names["metrics"]:
        # The lane of the metrics cannot report on itself before the provider stands that it feeds.
        lanes["metrics"] = Lane("metrics", Sender(target("metrics")), lambda _: b"", _lane_metrics("metrics", None))
        ours = QueueMetricReader(lanes["metrics"], encoders["metrics"], **_upstream.metric_preferences())
        readers.append(ours)
    meter_provider = MeterProvider(readers, resource, shutdown_on_exit=False, _meter_configurator=meter_configurator)
    meter = meter_provider.get_meter("otel_distro", __version__) if _self_metrics_on() else None
    if "metrics" in lanes:
        lanes["metrics"].report_to(_lane_metrics("metrics", meter))
    for signal, prefix in (("traces", "BSP"), ("logs", "BLRP")):
        if OURS in names[signal]:
            lanes[signal] = _queue_lane(signal, prefix, encoders[signal], meter)

    pipeline = Pipeline(
        lanes,
        delay=min(_number("OTEL_BSP_SCHEDULE_DELAY", 1000), _number("OTEL_BLRP_SCHEDULE_DELAY", 1000)) / 1000,
        interval=_number("OTEL_METRIC_EXPORT_INTERVAL", 15000) / 1000,
        collect=ours.collect if ours is not None else lambda: None,
    )
    if ours is not None:
        ours.flush = pipeline.flush

    tracer_provider = TracerProvider(
        sampler=_upstream.sampler_from_environment(),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=_upstream.id_generator_from_environment(),
        meter_provider=meter_provider,
        _tracer_configurator=tracer_configurator,
    )
    logger_provider = LoggerProvider(
        resource, shutdown_on_exit=False, meter_provider=meter_provider, _logger_configurator=logger_configurator
    )
    for name in names["traces"]:
        tracer_provider.add_span_processor(
            QueueSpanProcessor(pipeline)
            if name == OURS
            else BatchSpanProcessor(_upstream.exporter_class("traces", name)())
        )
    for name in names["logs"]:
        logger_provider.add_log_record_processor(
            QueueLogRecordProcessor(pipeline)
            if name == OURS
            else BatchLogRecordProcessor(_upstream.exporter_class("logs", name)())
        )
    _upstream.set_providers(tracer_provider, meter_provider, logger_provider)

    lifecycle = Lifecycle(
        pipeline, tracer_provider, meter_provider, logger_provider, settings.OTEL_DISTRO_EXIT_TIMEOUT.get()
    )
    with guard("following forks"):
        lifecycle.bind()
    return lifecycle


def _reader(name: str) -> MetricReader:
    found = _upstream.exporter_class("metrics", name)
    return found() if issubclass(found, MetricReader) else PeriodicExportingMetricReader(found())


def _queue_lane(signal: str, prefix: str, encode: Any, meter: Meter | None) -> Lane:
    capacity = int(_number(f"OTEL_{prefix}_MAX_QUEUE_SIZE", 2048))
    return Lane(
        signal,
        Sender(target(signal)),
        encode,
        _lane_metrics(signal, meter, capacity),
        capacity=capacity,
        batch=int(_number(f"OTEL_{prefix}_MAX_EXPORT_BATCH_SIZE", 512)),
    )


def _lane_metrics(signal: str, meter: Meter | None, capacity: int = 0) -> LaneMetrics:
    return LaneMetrics(signal, meter, target(signal).url, capacity)


def _self_metrics_on() -> bool:
    return os.environ.get("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "").strip().lower() == "true"


def _number(name: str, default: float) -> float:
    """Read a number that the check of the environment has passed; a later change of it falls back to the default."""
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        return default
    return value if 0 < value < float("inf") else default
