"""Uses OpenTelemetry's API: adds a processor to the provider, and records a span and a counter."""

import logging

from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import SpanProcessor


class Marker(SpanProcessor):
    def on_start(self, span, parent_context=None):
        span.set_attribute("marked", "yes")

    def on_end(self, span):
        print("ended", span.name, flush=True)


trace.get_tracer_provider().add_span_processor(Marker())
tracer = trace.get_tracer("shop")
orders = metrics.get_meter("shop").create_counter("shop.orders", unit="{order}")
with tracer.start_as_current_span("order"):
    orders.add(2, {"channel": "web"})
    logging.warning("ordered")
print(trace.get_tracer_provider().force_flush(), metrics.get_meter_provider().force_flush())
