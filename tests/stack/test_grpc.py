"""Export over gRPC to the real Collector."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.stack.rings import LOGS
from tests.support.otlp import Service
from tests.support.processes import RUN, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack

_PROGRAM = """
import logging
from opentelemetry import metrics, trace
with trace.get_tracer("shop").start_as_current_span("order"):
    metrics.get_meter("shop").create_counter("shop.orders").add(2)
    logging.warning("ordered %032x", trace.get_current_span().get_span_context().trace_id)
"""


@LOGS
def test_grpc_export_reaches_all_stores(stack: Stack, tmp_path: Path) -> None:
    """Span, log record and counter of a program reach their stores through the gRPC port."""
    shop = Service()
    settings = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_grpc,
        "OTEL_SERVICE_NAME": shop.name,
    }
    ended = run(tmp_path, *RUN, sys.executable, "-c", _PROGRAM, **settings)
    trace_id = ended.stderr.strip().removeprefix("WARNING:root:ordered ")
    assert (ended.returncode, len(trace_id)) == (0, 32), ended.stderr

    ((metadata, line),) = stack.wait_for_number(1, lambda: stack.lines(shop.name))
    assert (line, metadata["trace_id"]) == (f"ordered {trace_id}", trace_id)
    assert stack.wait_for_number(1, lambda: stack.trace_by_id(trace_id)) == [(shop.name, "order")]
    (point,) = stack.wait_for_number(1, lambda: stack.promql(f'shop_orders_total{{service_name="{shop.name}"}}'))
    assert point["value"][1] == "2"
