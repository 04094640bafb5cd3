"""How each program of the stack is started from the files and flags of the bundle, on free loopback ports.

The configuration files are those that ``docker-compose.yml`` mounts, and the flags are read from it. What differs is an
environment variable that the file itself offers; only Prometheus, which expands none, gets a copy of its file with the
``host:port`` pairs of the compose network replaced.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.stack.build import ROOT, locate
from tests.support.processes import STOP_TIMEOUT_S, Process, ProcessError, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPOSE = ROOT / "docker-compose.yml"
COLLECTOR = ROOT / "collector"
COLLECTOR_CONFIG = COLLECTOR / "config.yaml"
BACKENDS = ROOT / "backends"
JAEGER_CONFIG = Path(__file__).parent / "jaeger.yaml"


class StackProgram(Process):
    """A program of the stack in the background; ``ready_url`` answers 200 when it can work."""

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, ready_url: str, env: Mapping[str, str] | None = None
    ) -> None:
        """Start the program; of the environment of the tests it gets PATH only."""
        self.ready_url = ready_url
        basic = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
        super().__init__(name, command, folder=folder, env={**basic, **(env or {})})

    def wait_until_ready(self) -> None:
        """Wait until the program can work; raise :class:`ProcessError` when it ends before or takes too long."""
        self.wait_for_status(self.ready_url, 200)

    def stop(self, number: int = signal.SIGTERM, timeout: float = STOP_TIMEOUT_S) -> int:
        """Send a signal, and SIGKILL when the program does not end in time; return its exit status."""
        try:
            return super().stop(number, timeout)
        except ProcessError:
            self.kill()
            return -signal.SIGKILL

    def restart(self) -> None:
        """Start the program again, with the same ports and folders, after :meth:`stop` or :meth:`kill`."""
        self.start()
        self.wait_until_ready()


@dataclass(frozen=True)
class Ports:
    """One loopback port for each thing that listens; ``loki`` and ``tempo`` also for what takes their places."""

    otlp_grpc: int
    otlp_http: int
    collector_health: int
    collector_metrics: int
    prometheus: int
    alertmanager: int
    loki: int
    loki_grpc: int
    tempo: int
    tempo_grpc: int
    tempo_gossip: int
    tempo_otlp: int
    jaeger_query: int
    jaeger_grpc: int
    jaeger_health: int

    @classmethod
    def free(cls) -> Ports:
        """Return ports that nobody uses."""
        return cls(*free_ports(len(cls.__dataclass_fields__)))


def url(port: int, path: str = "") -> str:
    """Return the address of a loopback port."""
    return f"http://127.0.0.1:{port}{path}"


def compose() -> dict[str, Any]:
    """Return the parsed compose file."""
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return parsed


def flags(service: str, changed: Mapping[str, str]) -> list[str]:
    """Return the flags that the compose file gives a service, with the values of some replaced and others added."""
    given = {flag.partition("=")[0]: flag for flag in compose()["services"][service]["command"]}
    return list((given | {name: f"{name}={value}" for name, value in changed.items()}).values())


def collector_flags(*overlays: str) -> list[str]:
    """Return the flags that start a Collector with the bundle's files, those of the compose file, and overlays of it."""
    base = [flag.rpartition("/")[2] for flag in compose()["services"]["otel-collector"]["command"]]
    return [f"--config={COLLECTOR / file}" for file in (*base, *(f"overlays/{name}.yaml" for name in overlays))]


def collector_env(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the variables that put ``collector/config.yaml`` on these ports."""
    return {
        "OTLP_GRPC_PORT": str(ports.otlp_grpc),
        "OTLP_HTTP_PORT": str(ports.otlp_http),
        "COLLECTOR_HEALTH_PORT": str(ports.collector_health),
        "COLLECTOR_METRICS_PORT": str(ports.collector_metrics),
        "COLLECTOR_QUEUE_DIR": str(folder / "queue"),
        "SPAN_METRICS_FLUSH_INTERVAL": "1s",
        "TEMPO_OTLP_ENDPOINT": url(ports.tempo_otlp),
        "LOKI_OTLP_ENDPOINT": url(ports.loki, "/otlp"),
        "PROMETHEUS_OTLP_ENDPOINT": url(ports.prometheus, "/api/v1/otlp"),
    }


def loki_env(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the variables that put ``backends/loki.yaml`` on these ports."""
    return {
        "LOKI_HTTP_PORT": str(ports.loki),
        "LOKI_GRPC_PORT": str(ports.loki_grpc),
        "LOKI_DIR": str(folder / "loki"),
        "LOKI_RULES_DIR": str(BACKENDS / "loki_rules"),
        "ALERTMANAGER_URL": url(ports.alertmanager),
    }


def tempo_env(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the variables that put ``backends/tempo.yaml`` on these ports."""
    return {
        "TEMPO_HTTP_PORT": str(ports.tempo),
        "TEMPO_GRPC_PORT": str(ports.tempo_grpc),
        "TEMPO_GOSSIP_PORT": str(ports.tempo_gossip),
        "TEMPO_OTLP_PORT": str(ports.tempo_otlp),
        "TEMPO_COLLECTION_INTERVAL": "2s",
        "TEMPO_DIR": str(folder / "tempo"),
        "PROMETHEUS_REMOTE_WRITE": url(ports.prometheus, "/api/v1/write"),
    }


def prometheus_config(ports: Ports, folder: Path) -> Path:
    """Write the copy of ``backends/prometheus.yaml`` for these ports, with its rules beside it, and return its path."""
    text = (BACKENDS / "prometheus.yaml").read_text()
    for pair, port in {
        "otel-collector:8888": ports.collector_metrics,
        "prometheus:9090": ports.prometheus,
        "alertmanager:9093": ports.alertmanager,
        "loki:3100": ports.loki,
        "tempo:3200": ports.tempo,
    }.items():
        text = text.replace(pair, f"127.0.0.1:{port}")
    shutil.copytree(BACKENDS / "rules", folder / "rules", dirs_exist_ok=True)
    path = folder / "prometheus.yaml"
    path.write_text(text)
    return path


def start_collector(ports: Ports, folder: Path, logs_endpoint: str) -> StackProgram:
    """Start the Collector with the bundle's files, in front of the store that takes logs at this address."""
    env = {**collector_env(ports, folder), "LOKI_OTLP_ENDPOINT": logs_endpoint}
    command = [str(locate("otelcol-distro")), *collector_flags()]
    return StackProgram("collector", command, folder=folder, ready_url=url(ports.collector_health), env=env)


def start_prometheus(ports: Ports, folder: Path) -> StackProgram:
    """Start Prometheus with the bundle's file and flags."""
    changed = {
        "--config.file": str(prometheus_config(ports, folder)),
        "--storage.tsdb.path": str(folder / "prometheus"),
        "--web.listen-address": f"127.0.0.1:{ports.prometheus}",
    }
    command = [str(locate("prometheus")), *flags("prometheus", changed)]
    return StackProgram("prometheus", command, folder=folder, ready_url=url(ports.prometheus, "/-/ready"))


def start_alertmanager(ports: Ports, folder: Path) -> StackProgram:
    """Start Alertmanager with the bundle's file and flags."""
    changed = {
        "--config.file": str(BACKENDS / "alertmanager.yaml"),
        "--storage.path": str(folder / "alertmanager"),
        "--web.listen-address": f"127.0.0.1:{ports.alertmanager}",
    }
    command = [str(locate("alertmanager")), *flags("alertmanager", changed)]
    return StackProgram("alertmanager", command, folder=folder, ready_url=url(ports.alertmanager, "/-/ready"))


def start_loki(program: Path, ports: Ports, folder: Path) -> StackProgram:
    """Start the installed Loki with the bundle's file and flags."""
    command = [str(program), *flags("loki", {"-config.file": str(BACKENDS / "loki.yaml")})]
    return StackProgram(
        "loki", command, folder=folder, ready_url=url(ports.loki, "/ready"), env=loki_env(ports, folder)
    )


def start_tempo(program: Path, ports: Ports, folder: Path) -> StackProgram:
    """Start the installed Tempo with the bundle's file and flags."""
    command = [str(program), *flags("tempo", {"-config.file": str(BACKENDS / "tempo.yaml")})]
    return StackProgram(
        "tempo", command, folder=folder, ready_url=url(ports.tempo, "/ready"), env=tempo_env(ports, folder)
    )


def start_victorialogs(ports: Ports, folder: Path) -> StackProgram:
    """Start VictoriaLogs in Loki's place; it keeps lines for a week, as Loki does."""
    command = [
        str(locate("victoria-logs")),
        f"-httpListenAddr=127.0.0.1:{ports.loki}",
        f"-storageDataPath={folder / 'victorialogs'}",
        "-retentionPeriod=7d",
    ]
    return StackProgram("victorialogs", command, folder=folder, ready_url=url(ports.loki, "/health"))


def start_jaeger(ports: Ports, folder: Path) -> StackProgram:
    """Start Jaeger in Tempo's place, with its own metrics where Prometheus looks for Tempo's."""
    env = {
        "JAEGER_OTLP_PORT": str(ports.tempo_otlp),
        "JAEGER_METRICS_PORT": str(ports.tempo),
        "JAEGER_QUERY_PORT": str(ports.jaeger_query),
        "JAEGER_GRPC_PORT": str(ports.jaeger_grpc),
        "JAEGER_HEALTH_PORT": str(ports.jaeger_health),
    }
    command = [str(locate("jaeger")), f"--config={JAEGER_CONFIG}"]
    return StackProgram("jaeger", command, folder=folder, ready_url=url(ports.jaeger_health, "/status"), env=env)
