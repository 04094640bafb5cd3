"""The two clocks that the age of a segment is computed from."""

from __future__ import annotations

import time


class Clock:
    """Wall-clock time, which people and daemons set, and time since boot, which cannot be set."""

    _boot: bytes | None = None

    def wall(self) -> int:
        """Return Unix time in ns."""
        return time.time_ns()

    def uptime(self) -> int:
        """Return ns since boot."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def boot(self) -> bytes:
        """Return the 16 bytes that identify this boot, zeros where the system has none."""
        if self._boot is None:
            try:
                with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
                    self._boot = bytes.fromhex(file.read().strip().replace("-", ""))
            except (OSError, ValueError):
                self._boot = bytes(16)
        return self._boot
