"""Programs that deliver over gRPC: the same spool, the same ends, the same forks as over HTTP."""

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
    """Hand to the receiver what comes over gRPC."""

    def take(method: str, metadata: Mapping[str, str], body: bytes, _: Any) -> bytes:
        assert receiver.receive(PATHS[method.split("/")[1].rpartition(".")[2]], metadata, body) == (200, 0)
        return b""

    return GrpcServer(take, port=port)


@pytest.fixture
def grpc_launcher(tmp_path: Path, receiver: Receiver) -> Iterator[Launcher]:
    """Programs with telemetry to ``receiver`` over gRPC."""
    server = serve(receiver)
    running = Launcher(tmp_path, f"http://127.0.0.1:{server.port}")
    yield running
    running.close()
    server.stop()


@pytest.mark.parametrize(("kind", "method"), [("pool", "fork"), ("closed_pool", "forkserver"), ("fork", "-")])
def test_every_piece_of_work_is_told_once(kind: str, method: str, grpc_launcher: Launcher, receiver: Receiver) -> None:
    """Children that are forked while the parent has a channel deliver as well as it does; nobody hangs."""
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


def hears(thread: Path, number: int) -> bool:
    """Whether a signal of the process may be delivered to this thread, a folder of ``/proc/<pid>/task``."""
    status = dict(line.split(":\t", 1) for line in (thread / "status").read_text(encoding="utf-8").splitlines())
    return not int(status["SigBlk"], 16) >> (number - 1) & 1


def test_no_thread_takes_a_signal_from_the_main_one(grpc_launcher: Launcher, receiver: Receiver) -> None:
    """A handler runs in the main thread: were SIGTERM delivered to another one, a program that sleeps would sleep on."""
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
    assert [thread.name for thread in threads if hears(thread, signal.SIGTERM)] == [str(server.pid)]
    assert all(hears(thread, signal.SIGSEGV) for thread in threads)
    assert server.stop() == -signal.SIGTERM


def test_no_collector_and_a_later_one(launcher: Launcher, receiver: Receiver) -> None:
    """Without a collector a program ends in time and says why; a later one delivers for it, once."""
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


def test_one_signal_over_grpc(grpc_launcher: Launcher, receiver: Receiver) -> None:
    """A signal may go over gRPC by itself, with headers of its own, while the others go over HTTP."""
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
