"""Delivery over gRPC behaves like delivery over HTTP: spool, exits, forks."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.grpc_server import GrpcServer
from tests.support.processes import free_port
from tests.support.programs import Launcher
from tests.support.receiver import Receiver, instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PIECES = [f"piece {number}" for number in (*range(20), 100, 101)]
PATHS = {"TraceService": "/v1/traces", "MetricsService": "/v1/metrics", "LogsService": "/v1/logs"}


def serve(receiver: Receiver, port: int = 0) -> GrpcServer:
    """Start a gRPC server that passes every request on to the receiver."""

    def handle(method: str, metadata: Mapping[str, str], body: bytes, _: Any) -> bytes:
        assert receiver.receive(PATHS[method.split("/")[1].rpartition(".")[2]], metadata, body) == (200, 0)
        return b""

    return GrpcServer(handle, port=port)


@pytest.fixture
def grpc_launcher(tmp_path: Path, receiver: Receiver) -> Iterator[Launcher]:
    """A launcher whose programs export to ``receiver`` over gRPC."""
    server = serve(receiver)
    launcher = Launcher(tmp_path, f"http://127.0.0.1:{server.port}")
    yield launcher
    launcher.close()
    server.stop()


@pytest.mark.parametrize(("kind", "method"), [("pool", "fork"), ("closed_pool", "forkserver"), ("fork", "-")])
def test_grpc_forked_children_deliver_each_item_once(
    kind: str, method: str, grpc_launcher: Launcher, receiver: Receiver
) -> None:
    """Children forked while the parent has an open channel deliver each item once."""
    bare = grpc_launcher.run("workers.py", kind, method, command="bare")
    traced = grpc_launcher.run(
        "workers.py", kind, method, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_BLRP_SCHEDULE_DELAY="1"
    )
    assert (traced.returncode, traced.stdout, traced.diagnostics()) == (bare.returncode, bare.stdout, [])
    assert Counter(PIECES) == Counter(log.body for log in receiver.logs())
    done = Counter(log.resource["process.pid"] for log in receiver.logs())
    names = {log.resource["process.pid"]: instance(log) for log in receiver.logs()}
    assert len(set(names.values())) == len(done) > 1
    counts = {names[pid]: count for pid, count in done.items()}
    assert counts == {instance(p): p.value for p in receiver.series("db.client.operation.duration")}
    exported = receiver.series("otel.sdk.exporter.log.exported")
    assert {"otlp_grpc_log_exporter"} == {point.attributes["otel.component.type"] for point in exported}


def accepts_signal(thread: Path, number: int) -> bool:
    """Return whether the kernel may deliver a signal of the process to this thread.

    ``thread`` is a folder of ``/proc/<pid>/task``.
    """
    status = dict(line.split(":\t", 1) for line in (thread / "status").read_text(encoding="utf-8").splitlines())
    return not int(status["SigBlk"], 16) >> (number - 1) & 1


def test_grpc_threads_block_signals_for_the_main_thread(grpc_launcher: Launcher, receiver: Receiver) -> None:
    """All threads but the main one block SIGTERM, so the signal ends a sleep of the main one."""
    server = grpc_launcher.serve(
        "idle.py",
        OTEL_DISTRO_PROCESS_METRICS_DELAY="0.1",
        OTEL_METRIC_EXPORT_INTERVAL="300",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )
    receiver.wait_for(lambda r: len(r.points("process.uptime")) > 1)
    threads = list(Path(f"/proc/{server.pid}/task").iterdir())
    names = {(thread / "comm").read_text(encoding="utf-8").strip() for thread in threads}
    assert "event_engine" in names
    assert len(threads) > 4
    assert [thread.name for thread in threads if accepts_signal(thread, signal.SIGTERM)] == [str(server.pid)]
    assert all(accepts_signal(thread, signal.SIGSEGV) for thread in threads)
    assert server.stop() == -signal.SIGTERM


def test_grpc_collector_down_a_later_program_delivers_once(launcher: Launcher, receiver: Receiver) -> None:
    """A program without a collector exits and reports the reason; a later one delivers, once."""
    port = free_port()
    launcher.endpoint = f"http://127.0.0.1:{port}"
    bare = launcher.run("talker.py", "7", command="bare")
    traced = launcher.run("talker.py", "7", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout)
    assert [line for line in traced.stderr.splitlines() if not line.startswith("otel-distro: ")] == ["talking"]
    assert any("cannot deliver" in line and "gRPC UNAVAILABLE" in line for line in traced.diagnostics())
    server = serve(receiver, port)
    later = launcher.serve("idle.py", OTEL_DISTRO_PROCESS_METRICS_DELAY="0.1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    receiver.wait_for(lambda r: r.logs("talking") and r.spans("SELECT") and r.points("db.client.operation.duration"))
    later.stop()
    server.stop()
    assert len(receiver.logs("talking")) == len(receiver.spans("SELECT")) == 1


def test_grpc_for_one_signal_uses_its_own_endpoint_and_headers(grpc_launcher: Launcher, receiver: Receiver) -> None:
    """One signal can use gRPC with headers of its own while the others use HTTP."""
    traced = grpc_launcher.run(
        "talker.py",
        "7",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_EXPORTER_OTLP_LOGS_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=grpc_launcher.endpoint.removeprefix("http://"),
        OTEL_EXPORTER_OTLP_LOGS_INSECURE="true",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS="x-team=logs",
    )
    assert (traced.returncode, traced.diagnostics()) == (7, [])
    assert (len(receiver.logs("talking")), len(receiver.spans("SELECT"))) == (1, 1)
    headers = dict(receiver.requests)
    assert headers["/v1/logs"]["x-team"] == "logs"
    assert headers["/v1/logs"]["user-agent"].startswith("otel-distro/")
    assert "x-team" not in headers["/v1/traces"]
