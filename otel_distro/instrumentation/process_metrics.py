"""Process and host metrics by psutil, under the names of the semantic conventions.

One collection costs less than a millisecond: everything is read once for all instruments, and the
files of other processes are not scanned (upstream's ``system-metrics`` does so and takes 22 to
35 ms). A forked worker reports itself, not its parent. Host metrics (``system.*``) come from one
process of the host, the one that holds a lock file; when it ends, another takes over at its next
collection. Replaces upstream's ``opentelemetry-instrumentation-system-metrics``.

Sources: https://opentelemetry.io/docs/specs/semconv/system/process-metrics/,
https://opentelemetry.io/docs/specs/semconv/system/system-metrics/,
https://opentelemetry.io/docs/specs/semconv/runtime/cpython-metrics/
"""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
from opentelemetry import metrics
from opentelemetry.metrics import Observation

from otel_distro import schema as s
from otel_distro import settings
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._process.host import HostLease, HostReadings, by_attribute, read_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter

    Readings = dict[s.Metric, list[Observation]]

_SCOPE = "otel_distro.process_metrics"
_CACHE_S = 0.2
"""How long one reading is reused: all callbacks of one collection run within that time."""


class ProcessMetricsInstrumentor(Instrumentor):
    """Entry point ``process_metrics``."""

    def install(self) -> None:
        """Register an observable instrument for every metric; all share one reading."""
        meter = metrics.get_meter(_SCOPE, __version__)
        self.__dict__["_source"] = _Source(settings.OTEL_DISTRO_HOST_METRICS.get())
        for metric in _METRICS:
            _observe(meter, metric, self._read)

    def _read(self) -> Readings:
        # Instruments cannot be removed from a meter: they observe nothing while the instrumentor is
        # uninstalled, and are reused when it is installed again.
        source: _Source | None = self.__dict__.get("_source")
        readings: Readings = {}
        if source is not None:
            with guard("reading metrics"):
                readings = source.read()
        return readings

    def _uninstrument(self, **kwargs: Any) -> None:
        source: _Source | None = self.__dict__.pop("_source", None)
        if source is not None:
            source.close()


def _observe(meter: Meter, metric: s.Metric, read: Callable[[], Readings]) -> None:
    create: dict[str, Callable[..., Any]] = {
        "counter": meter.create_observable_counter,
        "updowncounter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        return read().get(metric, ())

    create[metric.instrument](metric.name, [callback], metric.unit, metric.brief)


class _Source:
    """Reads process and host once per collection.

    ``host``: the setting ``OTEL_DISTRO_HOST_METRICS``.
    """

    def __init__(self, host: str) -> None:
        self._host_setting = host
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._read_at = float("-inf")
        self._readings: Readings = {}
        self._process = _ProcessReadings()
        self._host = HostReadings() if self._host_setting != "false" else None
        self._lease = HostLease() if self._host_setting == "auto" else None

    def close(self) -> None:
        """Release the lease of the host."""
        if self._lease is not None:
            self._lease.release()

    def read(self) -> Readings:
        if self._pid != os.getpid():
            # A forked child: another process, and the lease is the parent's.
            if self._lease is not None:
                self._lease.release()
            self._reset()
        now = time.monotonic()
        if now - self._read_at > _CACHE_S:
            self._read_at = now
            readings: Readings = {}
            with guard("reading process metrics"):
                self._process.read(readings)
            if self._host is not None and (self._lease is None or self._lease.acquire()):
                with guard("reading host metrics"):
                    self._host.read(readings)
            self._readings = readings
        return self._readings


class _ProcessReadings:
    """Reads the process; a value that the system denies costs its own metric only."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cpus = psutil.cpu_count() or 1
        self._last: tuple[float, float, float] | None = None
        self._parts = (
            self._read_cpu,
            self._read_memory,
            self._read_threads,
            self._read_fds,
            self._read_uptime,
            self._read_switches,
            self._read_io,
            _read_faults,
            _read_gc,
        )

    def read(self, readings: Readings) -> None:
        """Add the observations of one collection."""
        with self._process.oneshot():
            read_parts(self._parts, readings)

    def _read_cpu(self) -> Readings:
        cpu = self._process.cpu_times()
        return {
            s.PROCESS_CPU_TIME: by_attribute(s.CPU_MODE, {"user": cpu.user, "system": cpu.system}),
            s.PROCESS_CPU_UTILIZATION: self._utilization(cpu.user, cpu.system),
        }

    def _read_memory(self) -> Readings:
        memory = self._process.memory_info()
        return {
            s.PROCESS_MEMORY_USAGE: [Observation(memory.rss)],
            s.PROCESS_MEMORY_VIRTUAL: [Observation(memory.vms)],
        }

    def _read_threads(self) -> Readings:
        return {s.PROCESS_THREAD_COUNT: [Observation(self._process.num_threads())]}

    def _read_fds(self) -> Readings:
        return {s.PROCESS_FD_COUNT: [Observation(self._process.num_fds())]}

    def _read_uptime(self) -> Readings:
        return {s.PROCESS_UPTIME: [Observation(max(0.0, time.time() - self._process.create_time()))]}

    def _read_switches(self) -> Readings:
        switches = self._process.num_ctx_switches()
        counts = {"voluntary": switches.voluntary, "involuntary": switches.involuntary}
        return {s.PROCESS_CONTEXT_SWITCHES: by_attribute(s.PROCESS_CONTEXT_SWITCH_TYPE, counts)}

    def _read_io(self) -> Readings:
        io = self._process.io_counters()
        return {s.PROCESS_DISK_IO: by_attribute(s.DISK_IO_DIRECTION, {"read": io.read_bytes, "write": io.write_bytes})}

    def _utilization(self, user: float, system: float) -> list[Observation]:
        now = time.monotonic()
        last, self._last = self._last, (now, user, system)
        if last is None or now <= last[0]:
            return []
        share = 1 / ((now - last[0]) * self._cpus)
        return by_attribute(s.CPU_MODE, {"user": (user - last[1]) * share, "system": (system - last[2]) * share})


def _read_faults() -> Readings:
    if sys.platform == "win32":
        return {}
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    faults = {"minor": usage.ru_minflt, "major": usage.ru_majflt}
    return {s.PROCESS_PAGING_FAULTS: by_attribute(s.PAGING_FAULT_TYPE, faults)}


def _read_gc() -> Readings:
    found = gc.get_stats()
    return {
        metric: by_attribute(s.GC_GENERATION, {str(generation): stats[key] for generation, stats in enumerate(found)})
        for metric, key in _GC.items()
    }


_GC = {
    s.GC_COLLECTIONS: "collections",
    s.GC_COLLECTED: "collected",
    s.GC_UNCOLLECTABLE: "uncollectable",
}

_METRICS = tuple(
    metric
    for metric in s.metrics()
    if metric.name.startswith(("process.", "system.", "cpython.gc.")) and metric.instrument != "histogram"
)
