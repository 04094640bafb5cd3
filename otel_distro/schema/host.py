"""Metrics of the host that the process runs on."""

from __future__ import annotations

from otel_distro.schema.attributes import (
    CPU_MODE,
    DISK_IO_DIRECTION,
    FILESYSTEM_MOUNTPOINT,
    FILESYSTEM_STATE,
    FILESYSTEM_TYPE,
    MEMORY_STATE,
    NETWORK_INTERFACE_NAME,
    NETWORK_IO_DIRECTION,
    PAGING_STATE,
    SYSTEM_DEVICE,
)
from otel_distro.schema.kinds import Metric

SYSTEM_CPU_TIME = Metric("system.cpu.time", "counter", "s", "Processor time of the host, all processors.", (CPU_MODE,))
SYSTEM_CPU_UTILIZATION = Metric(
    "system.cpu.utilization", "gauge", "1", "Share of the host's processor time.", (CPU_MODE,)
)
SYSTEM_CPU_COUNT = Metric("system.cpu.logical.count", "updowncounter", "{cpu}", "Logical processors of the host.")
SYSTEM_LOAD_1M = Metric("system.cpu.load_average.1m", "gauge", "{thread}", "Load average over one minute.")
SYSTEM_LOAD_5M = Metric("system.cpu.load_average.5m", "gauge", "{thread}", "Load average over five minutes.")
SYSTEM_LOAD_15M = Metric("system.cpu.load_average.15m", "gauge", "{thread}", "Load average over fifteen minutes.")
SYSTEM_MEMORY_USAGE = Metric("system.memory.usage", "updowncounter", "By", "Memory of the host.", (MEMORY_STATE,))
SYSTEM_MEMORY_UTILIZATION = Metric(
    "system.memory.utilization", "gauge", "1", "Share of the host's memory.", (MEMORY_STATE,)
)
SYSTEM_MEMORY_LIMIT = Metric("system.memory.limit", "updowncounter", "By", "Memory the host has.")
SYSTEM_PAGING_USAGE = Metric("system.paging.usage", "updowncounter", "By", "Swap space of the host.", (PAGING_STATE,))
SYSTEM_DISK_IO = Metric(
    "system.disk.io", "counter", "By", "Bytes moved from and to disks.", (SYSTEM_DEVICE, DISK_IO_DIRECTION)
)
SYSTEM_DISK_OPERATIONS = Metric(
    "system.disk.operations", "counter", "{operation}", "Operations of disks.", (SYSTEM_DEVICE, DISK_IO_DIRECTION)
)
SYSTEM_DISK_OPERATION_TIME = Metric(
    "system.disk.operation_time", "counter", "s", "Time disks spent on operations.", (SYSTEM_DEVICE, DISK_IO_DIRECTION)
)
SYSTEM_FILESYSTEM_USAGE = Metric(
    "system.filesystem.usage",
    "updowncounter",
    "By",
    "Space of the file system.",
    (SYSTEM_DEVICE, FILESYSTEM_MOUNTPOINT, FILESYSTEM_TYPE, FILESYSTEM_STATE),
)
SYSTEM_FILESYSTEM_UTILIZATION = Metric(
    "system.filesystem.utilization",
    "gauge",
    "1",
    "Share of the file system that is used.",
    (SYSTEM_DEVICE, FILESYSTEM_MOUNTPOINT, FILESYSTEM_TYPE),
)
SYSTEM_NETWORK_IO = Metric(
    "system.network.io", "counter", "By", "Bytes sent and received.", (NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION)
)
SYSTEM_NETWORK_PACKETS = Metric(
    "system.network.packet.count",
    "counter",
    "{packet}",
    "Packets sent and received.",
    (SYSTEM_DEVICE, NETWORK_IO_DIRECTION),
)
SYSTEM_NETWORK_DROPPED = Metric(
    "system.network.packet.dropped",
    "counter",
    "{packet}",
    "Packets dropped.",
    (NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION),
)
SYSTEM_NETWORK_ERRORS = Metric(
    "system.network.errors", "counter", "{error}", "Network errors.", (NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION)
)
SYSTEM_UPTIME = Metric("system.uptime", "gauge", "s", "Time since the host started.")
