"""What cannot be delivered: bodies that the collector refuses for good, and damaged stretches of segments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_distro._runtime.diagnostics import say
from otel_distro.export.spool.segment import HEADER_SIZE, Damage, Record, scan

if TYPE_CHECKING:
    from otel_distro.export.spool.directory import Directory
    from otel_distro.export.spool.segment import Clock, Segment

_MOST_FOUND = 65536
_KEPT_DAMAGES = 16
_KEPT_BYTES = 64 * 1024


class DeadLetters:
    """Files with one such body each, for people to look at; all together take at most ``limit`` bytes."""

    def __init__(self, directory: Directory, service: str, clock: Clock, limit: int) -> None:
        self._directory = directory
        self._service = service
        self._clock = clock
        self._limit = limit

    def keep(self, signal: str, body: bytes, count: int, reason: str) -> None:
        """Keep a body aside, cut to the limit. Never raises."""
        stamp = max(0, self._clock.wall())
        name = f"{stamp:019d}-{os.urandom(4).hex()}.{signal or 'unknown'}.otlp"
        facts = {"signal": signal, "count": count, "reason": reason, "time": stamp // 10**9, "service": self._service}
        try:
            self._directory.reject(name, facts, body, self._limit)
        except OSError as error:
            say(f"cannot set aside what was refused ({error})", cause="reject")


def salvage(segment: Segment, rejects: DeadLetters) -> tuple[list[Record], list[Damage]]:
    """Read what a segment holds, set the beginnings of what is damaged aside, and see that it is not counted again."""
    records: list[Record] = []
    damages: list[Damage] = []
    try:
        for found in scan(segment.descriptor, segment.header.marker):
            if len(records) + len(damages) >= _MOST_FOUND:
                damages.append(Damage(found.offset, segment.size - found.offset))
                break
            if isinstance(found, Damage):
                damages.append(found)
            else:
                records.append(found)
        if segment.size < HEADER_SIZE and not records:
            # Its owner was killed before anything was written.
            damages.clear()
        for damage in damages[:_KEPT_DAMAGES]:
            body = os.pread(segment.descriptor, min(damage.length, _KEPT_BYTES), damage.offset)
            rejects.keep(damage.signal, body, damage.count, "corrupt")
        for damage in reversed(damages):
            segment.heal(damage)
    except OSError as error:
        say(f"cannot read {segment.name} of the spool: {error}", cause="spool read")
        damages.append(Damage(segment.size, 0))
    return records, damages
