"""Adds its own components to the running SDK: processors, an exporter, a reader with a view."""

import logging

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Marker(LogRecordProcessor):
    def on_emit(self, log_record):
        log_record.log_record.attributes = {**log_record.log_record.attributes, "marked": "yes"}

    def shutdown(self):
        print("log processor shut down", flush=True)

    def force_flush(self, timeout_millis=30000):
        return True


class ReportingExporter(InMemorySpanExporter):
    def shutdown(self):
        print("exporter has", [span.name for span in self.get_finished_spans()], flush=True)


provider = trace.get_tracer_provider()
simple = InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(simple))
provider.add_span_processor(BatchSpanProcessor(ReportingExporter()))
logs = get_logger_provider()
logs.add_log_record_processor(Marker())
with trace.get_tracer("shop").start_as_current_span("order"):
    logging.getLogger("shop").warning("ordered")
print("simple has", [span.name for span in simple.get_finished_spans()])

# A second meter provider beside the global one, with a view.
reader = InMemoryMetricReader()
own = MeterProvider(
    [reader], views=[View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation(boundaries=[1, 2]))]
)
own.get_meter("shop").create_histogram("own").record(1.5)
(scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
print("own buckets", scope.metrics[0].data.data_points[0].bucket_counts)
metrics.get_meter("shop").create_histogram("basket").record(1.5)
