"""Dead letters: bodies that the collector rejects for good, and damaged regions of segments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_distro._runtime.diagnostics import say
from otel_distro.export.spool.accounting import UNKNOWN_SIGNAL
from otel_distro.export.spool.format import HEADER_SIZE, Damage, ScannedRecord, scan

if TYPE_CHECKING:
    from otel_distro.export.spool.clock import Clock
    from otel_distro.export.spool.directory import Directory
    from otel_distro.export.spool.segment import Segment

_MAX_FOUND = 65536
_MAX_KEPT_DAMAGES = 16
_MAX_DAMAGE_BYTES = 64 * 1024


class DeadLetters:
    """Writes each dead letter into a file of its own, for people to inspect.

    Args:
        directory: The folder of the destination.
        service: The service that writes them.
        clock: Gives their time.
        limit: Bytes that all dead letters of the destination may take; the oldest are deleted.
    """

    def __init__(self, directory: Directory, service: str, clock: Clock, limit: int) -> None:
        self._directory = directory
        self._service = service
        self._clock = clock
        self._limit = limit

    def write(self, signal: str, body: bytes, count: int, reason: str) -> None:
        """Write a body, cut to the limit. Never raises."""
        stamp = max(0, self._clock.wall())
        name = f"{stamp:019d}-{os.urandom(4).hex()}.{signal or UNKNOWN_SIGNAL}.otlp"
        facts = {"signal": signal, "count": count, "reason": reason, "time": stamp // 10**9, "service": self._service}
        try:
            self._directory.write_rejected(name, facts, body, self._limit)
        except OSError as error:
            say(
                f"cannot keep {count} items of {signal or 'an unknown signal'} that cannot be delivered ({error}):"
                " they are lost",
                cause="reject",
                code="OD306",
            )


def salvage(segment: Segment, dead_letters: DeadLetters) -> tuple[list[ScannedRecord], list[Damage]]:
    """Scan a segment, and write the beginnings of its damaged regions to the dead letters.

    The damage is hidden from later scans, so that it is counted once.
    """
    records: list[ScannedRecord] = []
    damages: list[Damage] = []
    try:
        for found in scan(segment.descriptor, segment.header.marker):
            if len(records) + len(damages) >= _MAX_FOUND:
                damages.append(Damage(found.offset, segment.size - found.offset))
                break
            if isinstance(found, Damage):
                damages.append(found)
            else:
                records.append(found)
        if segment.size < HEADER_SIZE and not records:
            # Its owner was killed before it wrote anything.
            damages.clear()
        for damage in damages[:_MAX_KEPT_DAMAGES]:
            body = os.pread(segment.descriptor, min(damage.length, _MAX_DAMAGE_BYTES), damage.offset)
            dead_letters.write(damage.signal, body, damage.count, "corrupt")
        for damage in reversed(damages):
            segment.heal(damage)
    except OSError as error:
        say(
            f"cannot read {segment.name} of the spool: {error}; what it holds beyond {len(records)} requests is lost",
            cause="spool read",
            code="OD307",
        )
        damages.append(Damage(segment.size, 0))
    return records, damages
