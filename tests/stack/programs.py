"""Start each program of the stack with the files and flags of the bundle, on free loopback ports.

The configuration files are those that ``docker-compose.yml`` mounts, and the flags are read from
it. Ports and folders are set by environment variables that the files support. Prometheus expands no
variables and gets a copy of its file, with the ``host:port`` pairs of the compose network replaced.
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
    """A program of the stack in the background; ``ready_url`` answers 200 when it is ready."""

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, ready_url: str, env: Mapping[str, str] | None = None
    ) -> None:
        """Start the program with a new environment, which inherits only PATH."""
        self.ready_url = ready_url
        basic = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
        super().__init__(name, command, folder=folder, env={**basic, **(env or {})})

    def wait_until_ready(self) -> None:
        """Wait until the program is ready.

        Raises:
            ProcessError: It ended, or was not ready in time.
        """
        self.wait_for_status(self.ready_url, 200)

    def stop(self, number: int = signal.SIGTERM, timeout: float = STOP_TIMEOUT_S) -> int:
        """Send a signal, then SIGKILL if the program does not end in time; return the status."""
        try:
            return super().stop(number, timeout)
        except ProcessError:
            self.kill()
            return -signal.SIGKILL

    def restart(self) -> None:
        """Start the stopped program again on the same ports; wait until it is ready."""
        self.start()
        self.wait_until_ready()


@dataclass(frozen=True)
class Ports:
    """A loopback port for each listener; ``loki`` and ``tempo`` also serve their replacements."""

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
        """Return ports that are free now."""
        return cls(*free_ports(len(cls.__dataclass_fields__)))


def url(port: int, path: str = "") -> str:
    """Return the address of a loopback port."""
    return f"http://127.0.0.1:{port}{path}"


def compose() -> dict[str, Any]:
    """Return the parsed compose file."""
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return parsed


def flags(service: str, changed: Mapping[str, str]) -> list[str]:
    """Return a service's flags in the compose file, with ``changed`` ones replaced or added."""
    given = {flag.partition("=")[0]: flag for flag in compose()["services"][service]["command"]}
    return list((given | {name: f"{name}={value}" for name, value in changed.items()}).values())


def collector_flags(*overlays: str) -> list[str]:
    """Return the flags that load the Collector files of the compose file, and overlays."""
    base = [flag.rpartition("/")[2] for flag in compose()["services"]["otel-collector"]["command"]]
    return [f"--config={COLLECTOR / file}" for file in (*base, *(f"overlays/{name}.yaml" for name in overlays))]


def collector_env(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the variables that set ports and folders of ``collector/config.yaml``."""
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
    """Return the variables that set ports and folders of ``backends/loki.yaml``."""
    return {
        "LOKI_HTTP_PORT": str(ports.loki),
        "LOKI_GRPC_PORT": str(ports.loki_grpc),
        "LOKI_DIR": str(folder / "loki"),
        "LOKI_RULES_DIR": str(BACKENDS / "loki_rules"),
        "ALERTMANAGER_URL": url(ports.alertmanager),
    }


def tempo_env(ports: Ports, folder: Path) -> dict[str, str]:
    """Return the variables that set ports and folders of ``backends/tempo.yaml``."""
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
    """Write a copy of ``backends/prometheus.yaml`` for these ports, with its rules."""
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
    """Start the Collector with the bundle's files; it exports logs to ``logs_endpoint``."""
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
    """Start VictoriaLogs in place of Loki; it keeps lines for a week, as Loki does."""
    command = [
        str(locate("victoria-logs")),
        f"-httpListenAddr=127.0.0.1:{ports.loki}",
        f"-storageDataPath={folder / 'victorialogs'}",
        "-retentionPeriod=7d",
    ]
    return StackProgram("victorialogs", command, folder=folder, ready_url=url(ports.loki, "/health"))


def start_jaeger(ports: Ports, folder: Path) -> StackProgram:
    """Start Jaeger in place of Tempo; Prometheus scrapes it on Tempo's port."""
    env = {
        "JAEGER_OTLP_PORT": str(ports.tempo_otlp),
        "JAEGER_METRICS_PORT": str(ports.tempo),
        "JAEGER_QUERY_PORT": str(ports.jaeger_query),
        "JAEGER_GRPC_PORT": str(ports.jaeger_grpc),
        "JAEGER_HEALTH_PORT": str(ports.jaeger_health),
    }
    command = [str(locate("jaeger")), f"--config={JAEGER_CONFIG}"]
    return StackProgram("jaeger", command, folder=folder, ready_url=url(ports.jaeger_health, "/status"), env=env)
