"""How the stack behaves when something is down, and what it says about itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.stack.otlp import Service
from tests.stack.programs import BACKENDS

if TYPE_CHECKING:
    from tests.stack.process import Process
    from tests.stack.stack import Stack

LISTENING = "0A"
NEVER_USED = {"/tmp/bloom-planner-queue", "/var/tempo/block-builder/traces"}
"""Paths of parts that do not run in a single process."""


def listening(process: Process) -> set[str]:
    """Return the addresses, in the kernel's hexadecimal form, on which the process accepts TCP connections."""
    sockets = set()
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1].split(":")[0])
    return addresses


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    """The bundle's files, as they are, open no port to the network."""
    for name, process in stack.processes.items():
        assert listening(process) == {"0100007F"}, name


def test_data_lies_where_the_variables_say(stack: Stack) -> None:
    """Loki and Tempo keep no path of their defaults: nothing they write is outside the volume they are given."""
    configurations = {"loki": f"{stack.loki}/config"} | (
        {"tempo": f"{stack.tempo}/status/config"} if stack.tempo else {}
    )
    for name, address in configurations.items():
        text = stack.text(address)
        paths = {line.partition(": ")[2].strip('"') for line in text.splitlines() if ": /" in line}
        outside = {path for path in paths if not path.startswith((str(stack.folder), str(BACKENDS)))}
        assert paths
        assert outside <= NEVER_USED, name


def test_logs_survive_a_store_that_is_down_and_a_collector_that_ends(stack: Stack) -> None:
    """What the Collector accepted while Loki was down is delivered once Loki is back, each line once.

    In between the Collector is first killed and then stopped: what it accepted lies on disk.
    """
    shop = Service()
    loki, collector = stack.processes["loki"], stack.processes["collector"]

    def send(numbers: range) -> None:
        for number in numbers:
            stack.send("logs", shop.log(f"line {number}"))

    loki.kill()
    send(range(10))
    collector.kill()
    collector.restart()
    send(range(10, 20))
    collector.stop()
    collector.restart()
    send(range(20, 30))
    loki.restart()

    lines = stack.wait_for_number(30, lambda: stack.logql(f'{{service_name="{shop.name}"}}'))
    assert sorted(line for _, line in lines) == sorted(f"line {number}" for number in range(30))


def test_prometheus_scrapes_every_part(stack: Stack) -> None:
    """The Collector's and the stores' own metrics are in Prometheus: `up` is 1 for each part."""
    parts = {"otel-collector", "loki", "prometheus", "alertmanager"} | ({"tempo"} if stack.tempo else set())
    up = stack.wait_for_number(len(parts), lambda: stack.promql("up == 1"))
    assert {series["metric"]["job"] for series in up} == parts
    assert stack.wait_for(lambda: stack.promql("otelcol_exporter_queue_capacity"))


def test_alerts_reach_alertmanager(stack: Stack) -> None:
    """Prometheus' Watchdog and Loki's alert on a critical log line both arrive at Alertmanager."""
    shop = Service()
    stack.send("logs", shop.log("out of money", severity=21, text="CRITICAL"))

    def firing() -> bool:
        names = {
            (alert["labels"]["alertname"], alert["labels"].get("service_name"))
            for alert in stack.get(f"{stack.alertmanager}/api/v2/alerts")
        }
        return {("Watchdog", None), ("FatalLog", shop.name)} <= names

    assert stack.wait_for(firing, timeout=120)
