"""Build, for each environment on stdin, all parts of OpenTelemetry that read variables.

It prints the complaints. ``test_environment.py`` runs it as a program: reloading modules of
OpenTelemetry would disturb other tests.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import warnings

from opentelemetry import context, propagate
from opentelemetry.sdk import _configuration as configuration
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import _get_from_env_or_default
from opentelemetry.util._providers import _load_provider
from opentelemetry.util.http import SanitizeValue, get_custom_headers, get_excluded_urls


class Complaints(logging.Handler):
    """Collects OpenTelemetry's log messages from the level of a warning on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def build() -> None:
    """Build the SDK as auto-instrumentation does, and read what instrumentors read.

    Raises what any of it raises.
    """
    importlib.reload(context)
    importlib.reload(propagate)
    names = {signal: configuration._get_exporter_names(signal) for signal in ("traces", "metrics", "logs")}
    spans, metrics, logs = configuration._import_exporters(names["traces"], names["metrics"], names["logs"])
    for exporter in (*spans.values(), *metrics.values(), *logs.values()):
        exporter().shutdown()
    resource = Resource.create()
    assert str(resource.attributes).encode()

    tracer_provider = TracerProvider(
        resource=resource,
        sampler=configuration._import_sampler(configuration._get_sampler()) or _get_from_env_or_default(),
        id_generator=configuration._import_id_generator(configuration._get_id_generator()),
        span_limits=SpanLimits(),
    )
    tracer_provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    assert LogRecordLimits()
    logger_provider = LoggerProvider(resource=resource)
    logger_provider.add_log_record_processor(BatchLogRecordProcessor(InMemoryLogRecordExporter()))
    reader = PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stderr))
    meter_provider = MeterProvider([reader], resource=resource)
    for provider in (tracer_provider, logger_provider, meter_provider):
        provider.shutdown()

    for signal in ("tracer", "meter"):
        if f"OTEL_PYTHON_{signal.upper()}_PROVIDER" in os.environ:
            _load_provider(f"OTEL_PYTHON_{signal.upper()}_PROVIDER", f"{signal}_provider")
    configuration._import_tracer_configurator(configuration._get_tracer_configurator())
    get_excluded_urls("FLASK").url_disabled("http://shop/orders")
    get_excluded_urls("REQUESTS").url_disabled("http://shop/orders")
    wanted = get_custom_headers("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST")
    SanitizeValue(()).sanitize_header_values({"accept": "*/*"}, wanted, str)


def main() -> None:
    """Print for each environment the list of complaints."""
    warnings.simplefilter("error")
    handler = Complaints()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(handler)
    logger.propagate = False
    bare = dict(os.environ)
    complaints = []
    for environ in json.load(sys.stdin):
        os.environ.clear()
        os.environ.update({**bare, **environ})
        handler.said = []
        try:
            build()
        except Exception as error:
            handler.said.append(f"{type(error).__name__}: {error}")
        complaints.append(handler.said)
    json.dump(complaints, sys.stdout)


if __name__ == "__main__":
    main()
