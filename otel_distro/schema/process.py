"""Metrics of the process, as psutil and the interpreter report them."""

from __future__ import annotations

from otel_distro.schema.attributes import (
    CPU_MODE,
    DISK_IO_DIRECTION,
    GC_GENERATION,
    PAGING_FAULT_TYPE,
    PROCESS_CONTEXT_SWITCH_TYPE,
)
from otel_distro.schema.kinds import Attribute, Metric

PROCESS_CPU_TIME = Metric("process.cpu.time", "counter", "s", "Processor time the process used.", (CPU_MODE,))
PROCESS_CPU_UTILIZATION = Metric(
    "process.cpu.utilization", "gauge", "1", "Share of all processors the process used.", (CPU_MODE,)
)
PROCESS_MEMORY_USAGE = Metric("process.memory.usage", "updowncounter", "By", "Physical memory of the process (RSS).")
PROCESS_MEMORY_VIRTUAL = Metric("process.memory.virtual", "updowncounter", "By", "Address space of the process.")
PROCESS_THREAD_COUNT = Metric("process.thread.count", "updowncounter", "{thread}", "Threads of the process.")
PROCESS_FD_COUNT = Metric(
    "process.unix.file_descriptor.count", "updowncounter", "{file_descriptor}", "Open file descriptors of the process."
)
PROCESS_CONTEXT_SWITCHES = Metric(
    "process.context_switches",
    "counter",
    "{context_switch}",
    "Context switches of the process.",
    (PROCESS_CONTEXT_SWITCH_TYPE,),
)
PROCESS_PAGING_FAULTS = Metric(
    "process.paging.faults", "counter", "{fault}", "Page faults of the process.", (PAGING_FAULT_TYPE,)
)
PROCESS_DISK_IO = Metric("process.disk.io", "counter", "By", "Bytes moved from and to storage.", (DISK_IO_DIRECTION,))
PROCESS_UPTIME = Metric("process.uptime", "gauge", "s", "Time since the process started.")
GC_COLLECTIONS = Metric(
    "cpython.gc.collections", "counter", "{collection}", "Runs of the garbage collector.", (GC_GENERATION,)
)
GC_COLLECTED = Metric(
    "cpython.gc.collected_objects", "counter", "{object}", "Objects the garbage collector freed.", (GC_GENERATION,)
)
GC_UNCOLLECTABLE = Metric(
    "cpython.gc.uncollectable_objects",
    "counter",
    "{object}",
    "Objects the garbage collector could not free.",
    (GC_GENERATION,),
)

PROCESS_COMMAND_ARGS = Attribute("process.command_args", "Arguments of the command, redacted.")
PROCESS_EXECUTABLE_NAME = Attribute("process.executable.name", "Program that was called.")
PROCESS_EXIT_CODE = Attribute("process.exit.code", "Exit status of the command.")
