"""Trace fields in lines that the application prints with structlog and loguru."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from loguru import logger as shared
from opentelemetry import trace

from otel_distro import correlation
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from otel_distro.instrumentation.loguru_records import LoguruRecordsInstrumentor
from otel_distro.instrumentation.structlog_records import StructlogRecordsInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Install the instrumentors of logging, loguru and structlog."""
    instrumentors = (LogRecordsInstrumentor(), LoguruRecordsInstrumentor(), StructlogRecordsInstrumentor())
    for each in instrumentors:
        each.instrument()
    yield
    structlog.reset_defaults()
    for each in reversed(instrumentors):
        each.uninstrument()


def test_structlog_processor_adds_current_trace_fields(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fields of the current span, zeros outside of one; exported records do not have them."""
    structlog.configure(processors=[correlation.structlog_processor, structlog.processors.JSONRenderer()])
    with trace.get_tracer("made").start_as_current_span("work") as span:
        structlog.get_logger().info("in")
    structlog.get_logger().info("out", otelSpanID="mine")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    context = span.get_span_context()
    assert (first["otelTraceID"], first["otelSpanID"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert (second["otelTraceID"], second["otelSpanID"]) == ("0", "mine")
    assert not any(key.startswith("otel") for found in telemetry.logs() for key in found.log_record.attributes or {})


def test_loguru_patcher_adds_current_trace_fields(telemetry: Telemetry) -> None:
    """The fields of the current span, zeros outside of one; exported records do not have them."""
    lines: list[str] = []
    shared.remove()
    shared.configure(patcher=correlation.loguru_patcher)
    shared.add(lines.append, format="{extra[otelTraceID]} {message}")
    with trace.get_tracer("made").start_as_current_span("work") as span:
        shared.info("in")
    shared.info("out")
    shared.remove()
    shared.configure(patcher=None)
    shared.add(sys.stderr)
    assert [str(line).rstrip() for line in lines] == [f"{span.get_span_context().trace_id:032x} in", "0 out"]
    assert not any(key.startswith("otel") for found in telemetry.logs() for key in found.log_record.attributes or {})
