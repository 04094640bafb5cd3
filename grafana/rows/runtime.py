"""Resources that the processes use, and the hosts they run on."""

from __future__ import annotations

from grafana.collector_names import HOST_NAME, INSTANCE
from grafana.panels import Json, row, timeseries
from grafana.promql import ENVIRONMENT, PROCESS, by, equals, on_host, rate, value
from grafana.targets import legend, prometheus
from otel_distro import schema
from otel_distro.schema import Attribute, Metric

ONE = (schema.SERVICE_NAME, INSTANCE)
"""Labels that distinguish one process from another."""


def processes() -> list[Json]:
    """Return the row about processes: CPU, memory, threads, descriptors, garbage collection."""
    collections = by("sum", rate(schema.GC_COLLECTIONS, PROCESS), schema.GC_GENERATION)
    return row(
        "Processes",
        _each(
            "Processor time",
            "Processors the process keeps busy: 100 % is one of them.",
            rate(schema.PROCESS_CPU_TIME, PROCESS),
            "percentunit",
        ),
        _each("Memory", "Physical memory of the process (RSS).", value(schema.PROCESS_MEMORY_USAGE, PROCESS), "bytes"),
        _each("Threads", "Threads of the process.", value(schema.PROCESS_THREAD_COUNT, PROCESS), "short"),
        _each(
            "File descriptors",
            "Open files and sockets of the process.",
            value(schema.PROCESS_FD_COUNT, PROCESS),
            "short",
        ),
        timeseries(
            "Garbage collections",
            "Runs of Python's garbage collector per second, by generation.",
            prometheus(collections, f"generation {legend(schema.GC_GENERATION)}"),
            unit="ops",
        ),
        _each(
            "Garbage collected",
            "Objects in reference cycles that the garbage collector freed per second.",
            rate(schema.GC_COLLECTED, PROCESS),
            "ops",
        ),
    )


def _each(title: str, description: str, expression: str, unit: str) -> Json:
    return timeseries(title, description, prometheus(by("sum", expression, *ONE), legend(*ONE)), unit=unit)


def hosts() -> list[Json]:
    """Return the row about hosts, whichever service reports them; initially collapsed."""
    host, mountpoint = legend(HOST_NAME), schema.FILESYSTEM_MOUNTPOINT
    idle = (*ENVIRONMENT, equals(schema.CPU_MODE, "idle"))
    used = (*ENVIRONMENT, equals(schema.MEMORY_STATE, "used"))
    lines = (
        (schema.SYSTEM_LOAD_1M, "1 min"),
        (schema.SYSTEM_LOAD_5M, "5 min"),
        (schema.SYSTEM_LOAD_15M, "15 min"),
        (schema.SYSTEM_CPU_COUNT, "processors"),
    )
    return row(
        "Hosts",
        timeseries(
            "Host processors",
            "Share of the host's processor time that is not idle.",
            prometheus(f"1 - {on_host(value(schema.SYSTEM_CPU_UTILIZATION, idle))}", host),
            unit="percentunit",
        ),
        timeseries(
            "Host memory",
            "Share of the host's memory in use.",
            prometheus(on_host(value(schema.SYSTEM_MEMORY_UTILIZATION, used)), host),
            unit="percentunit",
        ),
        timeseries(
            "Host load",
            "Threads that run or want to run, averaged, beside the number of processors.",
            *(prometheus(on_host(value(metric, ENVIRONMENT)), f"{host} {name}") for metric, name in lines),
            unit="short",
        ),
        timeseries(
            "Host disks",
            "Bytes per second from and to disks.",
            _moved(schema.SYSTEM_DISK_IO, schema.SYSTEM_DEVICE, schema.DISK_IO_DIRECTION),
            unit="Bps",
        ),
        timeseries(
            "Host network",
            "Bytes per second received and sent.",
            _moved(schema.SYSTEM_NETWORK_IO, schema.NETWORK_INTERFACE_NAME, schema.NETWORK_IO_DIRECTION),
            unit="Bps",
        ),
        timeseries(
            "Host file systems",
            "Share of the file system's space in use.",
            prometheus(
                on_host(value(schema.SYSTEM_FILESYSTEM_UTILIZATION, ENVIRONMENT), mountpoint),
                legend(HOST_NAME, mountpoint),
            ),
            unit="percentunit",
        ),
        collapsed=True,
    )


def _moved(metric: Metric, device: Attribute, direction: Attribute) -> Json:
    each_device = on_host(rate(metric, ENVIRONMENT), device, direction)
    return prometheus(by("sum", each_device, HOST_NAME, direction), legend(HOST_NAME, direction))
