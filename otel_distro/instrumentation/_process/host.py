"""Host metrics of ``process_metrics``, and the lease that selects the process that reports them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from opentelemetry.metrics import Observation

from otel_distro import schema as s
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_distro.schema import Attribute, Metric

    Readings = dict[Metric, list[Observation]]

_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "interrupt", "steal")
_CPU_FIELDS = {"interrupt": ("irq", "softirq", "interrupt")}
_REMOTE = ("nfs", "nfs4", "cifs", "smbfs", "smb3", "fuse.sshfs", "9p", "afs", "ceph", "fuse.glusterfs")
"""Network file systems: asking for their size can block for ever while the server is down."""

_MOUNTS_CACHE_S = 60.0
_UNAVAILABLE = (psutil.Error, OSError, AttributeError, NotImplementedError, RuntimeWarning, KeyError)
"""Exceptions of psutil for values that the system lacks or hides.

It warns of missing files of ``/proc``.
"""


class HostLease:
    """The lease to report the host: a file lock that one process at a time can hold.

    The kernel releases it when the process ends, also by a kill.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._path = os.path.join(tempfile.gettempdir(), "otel-distro-host-metrics.lock")

    def acquire(self) -> bool:
        """Return whether this process has the lease, and acquire it if it is free.

        True where files cannot be locked: metrics twice are better than no metrics.
        """
        if self._fd is not None:
            return True
        try:
            import fcntl
        except ImportError:
            return True
        fd = self._open()
        if fd is None:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def _open(self) -> int | None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        for attempt in (flags, flags | os.O_CREAT):
            # First without O_CREAT: a kernel with protected_regular refuses that flag for a file of
            # another user, even to root.
            try:
                return os.open(self._path, attempt, 0o644)
            except OSError:
                continue
        return None

    def release(self) -> None:
        """Release the lease. A forked child closes its copy only: the parent keeps the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read_parts(parts: Iterable[Callable[[], Readings]], readings: Readings) -> None:
    """Add the readings of each part; skip a part that the system lacks or denies.

    Hardened kernels and sandboxes hide some values, even of the process itself.
    """
    for part in parts:
        with guard(f"reading metrics ({part.__name__.lstrip('_')})"), suppress(*_UNAVAILABLE):
            readings.update(part())


class HostReadings:
    """Reads the host's metrics. Keeps processor times, mounts and disk names between readings."""

    def __init__(self) -> None:
        self._cpu: dict[str, float] | None = None
        self._mounts: list[tuple[str, str, str]] = []
        self._mounts_read = float("-inf")
        self._disks: frozenset[str] = frozenset()
        self._boot_time = 0.0
        self._cpus = psutil.cpu_count() or 1

    def read(self, readings: Readings) -> None:
        """Add the observations of one collection by metric."""
        if time.monotonic() - self._mounts_read > _MOUNTS_CACHE_S:
            self._mounts_read = time.monotonic()
            self._mounts = _local_mounts()
            self._disks = _whole_disks()
            self._boot_time = psutil.boot_time()
        parts = (
            self._read_cpu,
            _read_load,
            _read_memory,
            _read_swap,
            self._read_disks,
            self._read_file_systems,
            _read_network,
            self._read_uptime,
        )
        read_parts(parts, readings)

    def _read_cpu(self) -> Readings:
        times = psutil.cpu_times()
        now = {mode: sum(getattr(times, field, 0.0) for field in _CPU_FIELDS.get(mode, (mode,))) for mode in _CPU_MODES}
        last, self._cpu = self._cpu, now
        readings = {
            s.SYSTEM_CPU_TIME: by_attribute(s.CPU_MODE, now),
            s.SYSTEM_CPU_COUNT: [Observation(self._cpus)],
        }
        if last is not None and (total := sum(now.values()) - sum(last.values())) > 0:
            shares = {mode: max(0.0, now[mode] - last[mode]) / total for mode in now}
            readings[s.SYSTEM_CPU_UTILIZATION] = by_attribute(s.CPU_MODE, shares)
        return readings

    def _read_disks(self) -> Readings:
        readings: Readings = {
            s.SYSTEM_DISK_IO: [],
            s.SYSTEM_DISK_OPERATIONS: [],
            s.SYSTEM_DISK_OPERATION_TIME: [],
        }
        for name, disk in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
            if self._disks and name not in self._disks:
                continue
            for direction in ("read", "write"):
                attributes = {s.SYSTEM_DEVICE.name: name, s.DISK_IO_DIRECTION.name: direction}
                readings[s.SYSTEM_DISK_IO].append(Observation(getattr(disk, f"{direction}_bytes"), attributes))
                readings[s.SYSTEM_DISK_OPERATIONS].append(Observation(getattr(disk, f"{direction}_count"), attributes))
                readings[s.SYSTEM_DISK_OPERATION_TIME].append(
                    Observation(getattr(disk, f"{direction}_time") / 1000, attributes)
                )
        return readings

    def _read_uptime(self) -> Readings:
        return {s.SYSTEM_UPTIME: [Observation(max(0.0, time.time() - self._boot_time))]}

    def _read_file_systems(self) -> Readings:
        usage: list[Observation] = []
        utilization: list[Observation] = []
        for device, mountpoint, kind in self._mounts:
            try:
                found = os.statvfs(mountpoint)
            except OSError:
                # Unmounted since the list was read.
                continue
            if not found.f_blocks:
                continue
            block = found.f_frsize
            attributes = {
                s.SYSTEM_DEVICE.name: device,
                s.FILESYSTEM_MOUNTPOINT.name: mountpoint,
                s.FILESYSTEM_TYPE.name: kind,
            }
            used, free = found.f_blocks - found.f_bfree, found.f_bavail
            states = {"used": used, "free": free, "reserved": found.f_bfree - free}
            usage.extend(
                Observation(blocks * block, {**attributes, s.FILESYSTEM_STATE.name: state})
                for state, blocks in states.items()
            )
            utilization.append(Observation(used / found.f_blocks, attributes))
        return {s.SYSTEM_FILESYSTEM_USAGE: usage, s.SYSTEM_FILESYSTEM_UTILIZATION: utilization}


def _read_memory() -> Readings:
    memory = psutil.virtual_memory()
    states = {"used": memory.used, "free": memory.free}
    states.update({state: getattr(memory, state) for state in ("buffers", "cached") if hasattr(memory, state)})
    return {
        s.SYSTEM_MEMORY_LIMIT: [Observation(memory.total)],
        s.SYSTEM_MEMORY_USAGE: by_attribute(s.MEMORY_STATE, states),
        s.SYSTEM_MEMORY_UTILIZATION: by_attribute(s.MEMORY_STATE, {k: v / memory.total for k, v in states.items()}),
    }


def _read_swap() -> Readings:
    if sys.platform == "linux":
        # psutil also counts pages: that takes five times as long, and warns on stderr in sandboxes
        # that hide them.
        with open(f"{psutil.PROCFS_PATH}/meminfo", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file)
        total, free = (int(fields[name].split()[0]) * 1024 for name in (b"SwapTotal", b"SwapFree"))
        states = {"used": total - free, "free": free}
    else:
        swap = psutil.swap_memory()
        states = {"used": swap.used, "free": swap.free}
    return {s.SYSTEM_PAGING_USAGE: by_attribute(s.PAGING_STATE, states)}


def _read_load() -> Readings:
    loads = (s.SYSTEM_LOAD_1M, s.SYSTEM_LOAD_5M, s.SYSTEM_LOAD_15M)
    return {metric: [Observation(load)] for metric, load in zip(loads, os.getloadavg(), strict=True)}


def _read_network() -> Readings:
    readings: Readings = {
        s.SYSTEM_NETWORK_IO: [],
        s.SYSTEM_NETWORK_PACKETS: [],
        s.SYSTEM_NETWORK_DROPPED: [],
        s.SYSTEM_NETWORK_ERRORS: [],
    }
    for name, card in psutil.net_io_counters(pernic=True, nowrap=False).items():
        # semconv: packet.count has `system.device`, the others have `network.interface.name`.
        for direction, sent, suffix in (("transmit", "sent", "out"), ("receive", "recv", "in")):
            attributes = {s.NETWORK_INTERFACE_NAME.name: name, s.NETWORK_IO_DIRECTION.name: direction}
            device = {s.SYSTEM_DEVICE.name: name, s.NETWORK_IO_DIRECTION.name: direction}
            readings[s.SYSTEM_NETWORK_IO].append(Observation(getattr(card, f"bytes_{sent}"), attributes))
            readings[s.SYSTEM_NETWORK_PACKETS].append(Observation(getattr(card, f"packets_{sent}"), device))
            readings[s.SYSTEM_NETWORK_DROPPED].append(Observation(getattr(card, f"drop{suffix}"), attributes))
            readings[s.SYSTEM_NETWORK_ERRORS].append(Observation(getattr(card, f"err{suffix}"), attributes))
    return readings


def _local_mounts() -> list[tuple[str, str, str]]:
    mounts: dict[str, tuple[str, str, str]] = {}
    for part in psutil.disk_partitions(all=False):
        if part.fstype not in _REMOTE and part.fstype != "squashfs":
            mounts.setdefault(part.device, (part.device, part.mountpoint, part.fstype))
    # In a container no physical device is mounted; its root file system is the one that fills up.
    return list(mounts.values()) or [("rootfs", "/", "overlay")]


def _whole_disks() -> frozenset[str]:
    try:
        return frozenset(n for n in os.listdir("/sys/block") if not n.startswith(("loop", "ram", "zram", "dm-", "sr")))
    except OSError:
        return frozenset()


def by_attribute(attribute: Attribute, values: Mapping[str, float]) -> list[Observation]:
    """Return an observation for each value, with its key as the value of ``attribute``."""
    return [Observation(value, {attribute.name: key}) for key, value in values.items()]
