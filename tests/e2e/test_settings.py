"""Settings of OpenTelemetry that users know keep their meaning, and the line of code does what the commands do."""

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


def test_an_instrumentor_that_was_disabled(launcher: Launcher, receiver: Receiver) -> None:
    """Names in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS stay out, ours and upstream's; the others run."""
    launcher.run("talker.py", "0", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="sqlite3, process_metrics")
    assert receiver.spans() == []
    assert len(receiver.logs("talking")) == 1
    assert not {point.name for point in receiver.points()} & {metric.name for metric in schema.metrics()} - _SELF


_SELF = {metric.name for metric in schema.metrics() if metric.name.startswith("otel.sdk.")}


def test_all_instrumentors_disabled(launcher: Launcher, receiver: Receiver) -> None:
    """With * only what the program itself makes with the API is told."""
    traced = launcher.run("own_provider.py", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*")
    assert traced.returncode == 0
    assert [span.name for span in receiver.spans()] == ["order"]
    assert receiver.logs() == []
    assert not receiver.points("process.memory.usage")
    assert receiver.total("shop.orders", channel="web") == 2


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_the_api_and_a_processor_of_the_program(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """Processors can be added to the provider, force_flush delivers, and log, span and exemplar belong together."""
    traced = launcher.run("own_provider.py", command=command)
    assert (traced.returncode, traced.stdout, traced.diagnostics()) == (0, "ended order\nTrue True\n", [])
    (span,) = receiver.spans("order")
    assert (span.scope, span.attributes) == ("shop", {"marked": "yes"})
    (log,) = receiver.logs("ordered")
    assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)
    (orders,) = receiver.series("shop.orders")
    assert (orders.value, orders.unit, orders.kind) == (2, "{order}", "sum")
    assert [span.trace_id] == [trace_id for point in receiver.points("shop.orders") for trace_id in point.exemplars]


def test_the_console_exporter(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_TRACES_EXPORTER=console prints spans on stdout; the other signals go where they went."""
    traced = launcher.run("talker.py", "7", OTEL_TRACES_EXPORTER="console")
    assert traced.returncode == 7
    assert '"name": "SELECT"' in traced.stdout
    assert traced.diagnostics() == []
    assert receiver.spans() == []
    assert len(receiver.logs("talking")) == 1
    both = launcher.run("talker.py", "7", OTEL_TRACES_EXPORTER="console,otlp")
    assert '"name": "SELECT"' in both.stdout
    assert len(receiver.spans("SELECT")) == 1


def test_exporters_that_were_switched_off(launcher: Launcher, receiver: Receiver) -> None:
    """With none for a signal that signal is not sent; with none for all nothing is."""
    launcher.run("talker.py", "7", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    assert (len(receiver.spans("SELECT")), receiver.logs(), receiver.points()) == (1, [], [])
    before = len(receiver.requests)
    traced = launcher.run(
        "talker.py", "7", OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none"
    )
    assert (traced.returncode, traced.diagnostics()) == (7, [])
    assert len(receiver.requests) == before


def test_the_resource_of_the_user(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME are on all signals, beside what we find out ourselves."""
    launcher.run("talker.py", "0", OTEL_RESOURCE_ATTRIBUTES="team=web,service.version=2.1", OTEL_SERVICE_NAME="shop")
    items: list[Span | Log | Point] = [*receiver.spans(), *receiver.logs(), *receiver.points()]
    wanted = {"team": "web", "service.version": "2.1", "service.name": "shop", "telemetry.distro.name": "otel-distro"}
    assert items
    assert all(wanted.items() <= item.resource.items() for item in items)
    assert all({"host.name", "os.type", "process.pid", "service.instance.id"} <= set(item.resource) for item in items)


def test_requests_to_the_collector(launcher: Launcher, receiver: Receiver) -> None:
    """They are gzipped protobuf over one endpoint, carry the user's headers, and are not instrumented themselves."""
    launcher.run("script.py", "fine", OTEL_EXPORTER_OTLP_HEADERS="api-key=secret%20word,team=web")
    assert {path for path, _ in receiver.requests} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    for _, headers in receiver.requests:
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["content-encoding"] == "gzip"
        assert (headers["api-key"], headers["team"]) == ("secret word", "web")
        assert "traceparent" not in headers
    port = receiver.endpoint.rpartition(":")[2]
    assert port not in json.dumps([dict(span.attributes) for span in receiver.spans()], default=str)


def test_compression_that_was_switched_off(launcher: Launcher, receiver: Receiver) -> None:
    """OTEL_EXPORTER_OTLP_COMPRESSION=none sends plain protobuf."""
    launcher.run("talker.py", "0", OTEL_EXPORTER_OTLP_COMPRESSION="none")
    assert len(receiver.spans("SELECT")) == 1
    assert all("content-encoding" not in headers for _, headers in receiver.requests)


def test_a_sampler(launcher: Launcher, receiver: Receiver) -> None:
    """Spans that the sampler drops are not sent; logs and metrics are."""
    launcher.run("talker.py", "0", OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    assert receiver.spans() == []
    assert len(receiver.logs("talking")) == 1
    assert receiver.total("db.client.operation.duration") == 1


@pytest.mark.parametrize("where", ["fine", "main", "thread"])
def test_the_line_of_code_is_as_good_as_the_command(
    where: str, launcher: Launcher, receiver: Receiver, tmp_path: Path
) -> None:
    """A program whose first line calls instrument() tells what it tells under `otel-distro run`."""
    # Each with a state of its own: what the one has seen for the first time the other would know.
    state = str(tmp_path / "other state")
    by_line = launcher.run("first_line.py", APPS / "script.py", where, command="bare", XDG_STATE_HOME=state)
    first = arrived(receiver)
    by_command = launcher.run("script.py", where, command=RUN)
    both = arrived(receiver)
    assert (by_line.returncode, by_line.stdout, by_line.diagnostics()) == (by_command.returncode, by_command.stdout, [])
    assert first["spans"]
    assert first["logs"]
    assert both == {kind: counted + counted for kind, counted in first.items()}


def arrived(receiver: Receiver) -> dict[str, Counter[str]]:
    """Return how often came what span, log record and metric, without the ports in the logs."""
    return {
        "spans": Counter(span.name for span in receiver.spans()),
        "logs": Counter(re.sub(r"\d{4,}", "*", str(log.body)) for log in receiver.logs()),
        "metrics": Counter(
            point.name for point in receiver.points() if not point.name.startswith(("system.", "otel."))
        ),
    }
