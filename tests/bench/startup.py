"""A short program from start to end, with the distribution and with the plain SDK.

    python -m tests.bench.startup [--rounds 15]

Milliseconds of CPU of the whole process, user and system, the median of rounds. The plain SDK is
set up in code; both export over HTTP to a server on loopback. With the distribution a program that
does nothing never loads OpenTelemetry; one that ends a span does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from otel_distro.cli import run
from tests.bench import row
from tests.support.otlp_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IDLE = "pass"
SPAN = """
from opentelemetry import trace
with trace.get_tracer("bench").start_as_current_span("work"):
    pass
"""
SET_UP = """
from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
tracer, logger = TracerProvider(), LoggerProvider()
tracer.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logger.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
trace.set_tracer_provider(tracer)
set_logger_provider(logger)
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
"""


def cost(program: str, environ: Mapping[str, str]) -> float:
    """Run a program and return milliseconds of CPU."""
    started = subprocess.Popen([sys.executable, "-c", program], env=dict(environ))
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise RuntimeError(f"the program ended with status {started.returncode}")
    return (used.ru_utime + used.ru_stime) * 1000


def measure(rounds: int) -> Iterator[row.Row]:
    """Run each program in turns, with fresh state for each benchmark."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTHON"))}
        plain |= {"OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, "XDG_STATE_HOME": folder, "TMPDIR": folder}
        distro = run.environment(plain)
        for name, program in (("idle program", IDLE), ("program with a span", SPAN)):
            # The first run writes the byte code.
            cost(program, distro), cost(SET_UP + program, plain)
            costs = [(cost(program, distro), cost(SET_UP + program, plain)) for _ in range(rounds)]
            yield row.row(name, [cost for cost, _ in costs], [cost for _, cost in costs], "ms")


if __name__ == "__main__":
    row.main(__doc__, measure, 15)
