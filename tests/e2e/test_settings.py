"""OpenTelemetry's settings keep their meaning, and instrument() does what the commands do."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema
from tests.support.programs import APPS, INSTRUMENT, RUN, Command, Launcher

if TYPE_CHECKING:
    from tests.support.receiver import Log, Point, Receiver, Span


def test_settings_disabled_instrumentor_does_not_run(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_PYTHON_DISABLED_INSTRUMENTATIONS disables instrumentors of both packages; others run."""
    launcher.run("talker.py", "0", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="sqlite3, process_metrics")
    assert receiver.spans() == []
    assert len(receiver.logs("talking")) == 1
    assert not {point.name for point in receiver.points()} & {metric.name for metric in schema.metrics()} - _SELF


_SELF = {metric.name for metric in schema.metrics() if metric.name.startswith("otel.sdk.")}


def test_settings_all_instrumentors_disabled_exports_api_telemetry_only(launcher: Launcher, receiver: Receiver) -> None:
    """With * only telemetry that the program creates through the API is exported."""
    traced = launcher.run("own_provider.py", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*")
    assert traced.returncode == 0
    assert [span.name for span in receiver.spans()] == ["order"]
    assert receiver.logs() == []
    assert not receiver.points("process.memory.usage")
    assert receiver.total("shop.orders", channel="web") == 2


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_settings_none_api_and_processor_of_the_program_work(
    command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """Processors can be added, force_flush delivers; log, span and exemplar have the same trace."""
    traced = launcher.run("own_provider.py", command=command)
    assert (traced.returncode, traced.stdout, traced.diagnostics()) == (0, "ended order\nTrue True\n", [])
    (span,) = receiver.spans("order")
    assert (span.scope, span.attributes) == ("shop", {"marked": "yes"})
    (log,) = receiver.logs("ordered")
    assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
    (orders,) = receiver.series("shop.orders")
    assert (orders.value, orders.unit, orders.kind) == (2, "{order}", "sum")
    assert [span.trace_id] == [trace_id for point in receiver.points("shop.orders") for trace_id in point.exemplars]


def test_settings_console_exporter_for_traces_prints_spans(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_TRACES_EXPORTER=console prints spans; the other signals are exported as before."""
    traced = launcher.run("talker.py", "7", OTEL_TRACES_EXPORTER="console")
    assert traced.returncode == 7
    assert '"name": "SELECT"' in traced.stdout
    assert traced.diagnostics() == []
    assert receiver.spans() == []
    assert len(receiver.logs("talking")) == 1
    both = launcher.run("talker.py", "7", OTEL_TRACES_EXPORTER="console,otlp")
    assert '"name": "SELECT"' in both.stdout
    assert len(receiver.spans("SELECT")) == 1


def test_settings_exporter_none_sends_nothing_of_that_signal(launcher: Launcher, receiver: Receiver) -> None:
    """Exporter ``none`` disables one signal; for all three signals it disables every request."""
    launcher.run("talker.py", "7", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    assert (len(receiver.spans("SELECT")), receiver.logs(), receiver.points()) == (1, [], [])
    before = len(receiver.requests)
    traced = launcher.run(
        "talker.py", "7", OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none"
    )
    assert (traced.returncode, traced.diagnostics()) == (7, [])
    assert len(receiver.requests) == before


def test_settings_resource_of_the_user_is_on_all_signals(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME are on all signals, beside detected ones."""
    launcher.run("talker.py", "0", OTEL_RESOURCE_ATTRIBUTES="team=web,service.version=2.1", OTEL_SERVICE_NAME="shop")
    items: list[Span | Log | Point] = [*receiver.spans(), *receiver.logs(), *receiver.points()]
    wanted = {"team": "web", "service.version": "2.1", "service.name": "shop", "telemetry.distro.name": "otel-distro"}
    assert items
    assert all(wanted.items() <= item.resource.items() for item in items)
    assert all({"host.name", "os.type", "process.pid", "service.instance.id"} <= set(item.resource) for item in items)


def test_settings_headers_are_sent_with_uninstrumented_requests(launcher: Launcher, receiver: Receiver) -> None:
    """Requests are gzipped protobuf to one endpoint, have the user's headers, and make no spans."""
    launcher.run("script.py", "fine", OTEL_EXPORTER_OTLP_HEADERS="api-key=secret%20word,team=web")
    assert {path for path, _ in receiver.requests} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    for _, headers in receiver.requests:
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["content-encoding"] == "gzip"
        assert (headers["api-key"], headers["team"]) == ("secret word", "web")
        assert "traceparent" not in headers
    port = receiver.endpoint.rpartition(":")[2]
    assert port not in json.dumps([dict(span.attributes) for span in receiver.spans()], default=str)


def test_settings_compression_none_sends_plain_protobuf(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_EXPORTER_OTLP_COMPRESSION=none sends uncompressed protobuf."""
    launcher.run("talker.py", "0", OTEL_EXPORTER_OTLP_COMPRESSION="none")
    assert len(receiver.spans("SELECT")) == 1
    assert all("content-encoding" not in headers for _, headers in receiver.requests)


def test_settings_sampler_drops_spans_only(launcher: Launcher, receiver: Receiver) -> None:
    """Spans that the sampler drops are not sent; logs and metrics are."""
    launcher.run("talker.py", "0", OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    assert receiver.spans() == []
    assert len(receiver.logs("talking")) == 1
    assert receiver.total("db.client.operation.duration") == 1


@pytest.mark.parametrize("where", ["fine", "main", "thread"])
def test_settings_instrument_call_exports_what_the_command_exports(
    where: str, launcher: Launcher, receiver: Receiver, tmp_path: Path
) -> None:
    """A program whose first line calls instrument() exports the same as under `otel-distro run`."""
    # Separate state folders: an error that the first run has seen would not be new in the second.
    state = str(tmp_path / "other state")
    by_line = launcher.run("first_line.py", APPS / "script.py", where, command="bare", XDG_STATE_HOME=state)
    first = counts_by_name(receiver)
    by_command = launcher.run("script.py", where, command=RUN)
    both = counts_by_name(receiver)
    assert (by_line.returncode, by_line.stdout, by_line.diagnostics()) == (by_command.returncode, by_command.stdout, [])
    assert first["spans"]
    assert first["logs"]
    assert both == {kind: counted + counted for kind, counted in first.items()}


def counts_by_name(receiver: Receiver) -> dict[str, Counter[str]]:
    """Return how often each span, log record and metric arrived; ports in log texts are masked."""
    return {
        "spans": Counter(span.name for span in receiver.spans()),
        "logs": Counter(re.sub(r"\d{4,}", "*", str(log.body)) for log in receiver.logs()),
        "metrics": Counter(
            point.name for point in receiver.points() if not point.name.startswith(("system.", "otel."))
        ),
    }
