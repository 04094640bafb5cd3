"""The stack during outages, and its own metrics and alerts."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.stack import web
from tests.stack.programs import BACKENDS
from tests.stack.rings import LOGS, LOKI, TEMPO, TRACES
from tests.support.otlp import Service

if TYPE_CHECKING:
    from tests.stack.programs import StackProgram
    from tests.stack.stack import Stack

LISTENING = "0A"
NEVER_USED = {"/tmp/bloom-planner-queue", "/var/tempo/block-builder/traces", "/api/v2/compaction-frame"}
"""Paths of components that a single process does not run, and an HTTP path of Loki > 3.7 (last)."""


def listening(process: StackProgram) -> set[str]:
    """Return the addresses on which the process accepts TCP, in the kernel's hexadecimal form."""
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


@LOGS
def test_stack_listens_on_loopback_only(stack: Stack) -> None:
    """The bundle's files, unchanged, open no port to the network."""
    for name, process in stack.processes.items():
        assert listening(process) == {"0100007F"}, name


def paths_outside(stack: Stack, configuration: str) -> set[str]:
    """Return the paths in a store's configuration that are outside of its folder."""
    paths = {line.partition(": ")[2].strip('"') for line in configuration.splitlines() if ": /" in line}
    assert paths
    return {path for path in paths if not path.startswith((str(stack.folder), str(BACKENDS)))}


@LOKI
def test_stack_loki_writes_only_to_its_volume(stack: Stack) -> None:
    """Loki uses no default path: everything it writes is in the configured volume."""
    assert paths_outside(stack, web.text(f"{stack.loki.address}/config")) <= NEVER_USED


@TEMPO
def test_stack_tempo_writes_only_to_its_volume(stack: Stack) -> None:
    """Tempo uses no default path: everything it writes is in the configured volume."""
    assert paths_outside(stack, web.text(f"{stack.tempo.address}/status/config")) <= NEVER_USED


@LOGS
def test_stack_logs_survive_outage_of_store_and_collector(stack: Stack) -> None:
    """Logs accepted while the store was down are delivered once, after its restart.

    Meanwhile the Collector is killed, then stopped: its queue is on disk.
    """
    shop = Service()
    store, collector = stack.processes[stack.logs.name], stack.processes["collector"]

    def send(numbers: range) -> None:
        for number in numbers:
            stack.send("logs", shop.log(f"line {number}"))

    store.kill()
    send(range(10))
    collector.kill()
    collector.restart()
    send(range(10, 20))
    collector.stop()
    collector.restart()
    send(range(20, 30))
    store.restart()

    lines = stack.wait_for_number(30, lambda: stack.lines(shop.name))
    assert sorted(line for _, line in lines) == sorted(f"line {number}" for number in range(30))


@TRACES
def test_stack_traces_survive_outage_of_store_and_collector(stack: Stack) -> None:
    """Spans accepted while the store was down are delivered once, after its restart."""
    first, second = Service(), Service()
    store, collector = stack.processes[stack.traces.name], stack.processes["collector"]
    store.kill()
    stack.send("traces", first.span("before"))
    collector.kill()
    collector.restart()
    stack.send("traces", second.span("after"))
    store.restart()

    for shop, name in ((first, "before"), (second, "after")):
        assert stack.wait_for(partial(stack.trace_by_id, shop.trace_id)) == [(shop.name, name)]


@LOGS
def test_stack_prometheus_scrapes_every_service(stack: Stack) -> None:
    """The metrics of the Collector and the stores are in Prometheus: `up` is 1 for each."""
    parts = {"otel-collector", "loki", "tempo", "prometheus", "alertmanager"}
    up = stack.wait_for_number(len(parts), lambda: stack.promql("up == 1"))
    assert {series["metric"]["job"] for series in up} == parts
    assert stack.wait_for(lambda: stack.promql("otelcol_exporter_queue_capacity"))


def alerts(stack: Stack) -> set[tuple[str, str | None]]:
    """Return name and service of the alerts in Alertmanager."""
    found = web.get(f"{stack.alertmanager}/api/v2/alerts")
    return {(alert["labels"]["alertname"], alert["labels"].get("service_name")) for alert in found}


def test_stack_prometheus_alerts_reach_alertmanager(stack: Stack) -> None:
    """Prometheus' Watchdog arrives at Alertmanager."""
    assert stack.wait_for(lambda: ("Watchdog", None) in alerts(stack), timeout=120)


@LOKI
def test_stack_loki_alerts_reach_alertmanager(stack: Stack) -> None:
    """Prometheus' Watchdog and Loki's alert on a critical log line arrive at Alertmanager."""
    shop = Service()
    stack.send("logs", shop.log("out of money", severity=21, text="CRITICAL"))

    wanted = {("Watchdog", None), ("FatalLog", shop.name)}
    assert stack.wait_for(lambda: wanted <= alerts(stack), timeout=120)
