"""Custom SDK components, variables, OTEL_CONFIG_FILE and exporters work as with the stock SDK."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.programs import fake_package

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver

_FILE = """
file_format: "1.0"
resource: {attributes: [{name: service.name, value: filed}, {name: service.instance.id, value: one}]}
tracer_provider:
  processors: [{batch: {schedule_delay: 60000, exporter: {otlp_http: {endpoint: "${RECEIVER}/v1/traces"}}}}]
logger_provider:
  processors: [{batch: {schedule_delay: 60000, exporter: {otlp_http: {endpoint: "${RECEIVER}/v1/logs"}}}}]
meter_provider:
  readers: [{periodic: {interval: 600000, exporter: {otlp_http: {endpoint: "${RECEIVER}/v1/metrics"}}}}]
  views:
    - selector: {instrument_name: db.client.operation.duration}
      stream: {name: asked}
"""

_PARTS = """
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

class Choosy(Sampler):
    def __init__(self, argument):
        self.argument = argument
    def should_sample(self, parent, trace_id, name, *args, **kwargs):
        decision = Decision.DROP if name == self.argument else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision, {"sampled.by": "choosy"})
    def get_description(self):
        return "choosy"

class Printing(SpanExporter):
    def export(self, spans):
        print("exported", *(span.name for span in spans), flush=True)
        return SpanExportResult.SUCCESS
"""


def test_parts_added_by_a_program_work_beside_the_distribution(launcher: Launcher, receiver: Receiver) -> None:
    """Processors, exporters, readers and views of a program work; their changes are exported."""
    traced = launcher.run("own_parts.py")
    assert (traced.returncode, traced.diagnostics()) == (0, [])
    assert traced.stdout.splitlines() == [
        "simple has ['order']",
        "own buckets (0, 1, 0)",
        "exporter has ['order']",
        "log processor shut down",
    ]
    (span,) = receiver.spans("order")
    (log,) = receiver.logs("ordered")
    assert (log.attributes["marked"], log.span_id) == ("yes", span.span_id)
    assert receiver.total("basket") == 1
    assert receiver.points("own") == []


def test_parts_selected_by_variables_are_used(launcher: Launcher, receiver: Receiver) -> None:
    """A sampler and an exporter of another package, selected by variables, are used.

    The OTLP exporter sends the rest.
    """
    lines = ["[opentelemetry_traces_sampler]", "choosy = parts:Choosy"]
    lines += ["[opentelemetry_traces_exporter]", "printing = parts:Printing"]
    path = fake_package(launcher.folder / "fake", "parts", "1.0", _PARTS, lines)
    traced = launcher.run(
        "own_provider.py",
        PYTHONPATH=str(path),
        OTEL_TRACES_SAMPLER="choosy",
        OTEL_TRACES_SAMPLER_ARG="dropped",
        OTEL_TRACES_EXPORTER="otlp,printing",
    )
    assert (traced.returncode, traced.diagnostics()) == (0, [])
    assert "exported order" in traced.stdout
    (span,) = receiver.spans("order")
    assert span.attributes == {"sampled.by": "choosy", "marked": "yes"}


def test_console_exporter_prints_all_signals_alone_or_beside_otlp(launcher: Launcher, receiver: Receiver) -> None:
    """All three signals can be printed instead of being sent, and in addition to it."""
    both = {f"OTEL_{signal}_EXPORTER": "console,otlp" for signal in ("TRACES", "METRICS", "LOGS")}
    traced = launcher.run("talker.py", "7", **dict.fromkeys(both, "console"))  # type: ignore[arg-type]
    assert (traced.returncode, traced.diagnostics(), receiver.requests) == (7, [], [])
    check_printed(traced.stdout)
    traced = launcher.run("talker.py", "7", **both)  # type: ignore[arg-type]
    check_printed(traced.stdout)
    assert (len(receiver.spans("SELECT")), len(receiver.logs("talking"))) == (1, 1)
    assert receiver.total("db.client.operation.duration") == 1


def check_printed(stdout: str) -> None:
    """Check that a span, a log record and a metric were printed once."""
    for text in ('"name": "SELECT"', '"body": "talking"', '"name": "db.client.operation.duration"'):
        assert stdout.count(text) == 1, stdout


def test_export_intervals_are_respected_and_exit_flushes(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_BSP_*, OTEL_BLRP_* and OTEL_METRIC_EXPORT_INTERVAL set the export times.

    The end of the process exports what is left.
    """
    server = launcher.serve(
        "-c",
        "import logging, time\nlogging.warning('said')\nwhile True: time.sleep(1)",
        OTEL_BSP_SCHEDULE_DELAY="600000",
        OTEL_BLRP_SCHEDULE_DELAY="600000",
        OTEL_METRIC_EXPORT_INTERVAL="200",
    )
    receiver.wait_for(lambda r: len({point.time for point in r.points("process.memory.usage")}) > 2)
    assert receiver.logs() == []
    assert server.stop() == -signal.SIGTERM
    assert len(receiver.logs("said")) == 1


def test_config_file_sdk_survives_exit_and_fork(launcher: Launcher, receiver: Receiver) -> None:
    """With OTEL_CONFIG_FILE the SDK is the one of the file; exits and forks lose no telemetry."""
    file = launcher.folder / "otel.yaml"
    file.write_text(_FILE, encoding="utf-8")
    changes = {"OTEL_CONFIG_FILE": str(file), "RECEIVER": receiver.endpoint}
    bare = launcher.run("workers.py", "pool", "fork", command="bare")
    traced = launcher.run("workers.py", "pool", "fork", **changes)  # type: ignore[arg-type]
    assert (traced.returncode, traced.stdout, traced.diagnostics()) == (bare.returncode, bare.stdout, [])
    assert sorted(str(log.body) for log in receiver.logs()) == sorted(f"piece {n}" for n in (*range(20), 100, 101))
    assert len(receiver.spans("SELECT")) == 22
    assert sum(point.value for point in receiver.points("asked")) == 22
    assert {"filed"} == {span.resource["service.name"] for span in receiver.spans()}
    program = "import logging, os, signal; logging.warning('last'); os.kill(os.getpid(), signal.SIGTERM)"
    assert launcher.run("-c", program, **changes).returncode == -signal.SIGTERM  # type: ignore[arg-type]
    assert len(receiver.logs("last")) == 1
