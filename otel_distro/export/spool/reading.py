"""Reads the bodies of many records with few calls: each call lets the interpreter go, and has to wait for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from otel_distro.export.spool.segment import FRAME_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from otel_distro.export.spool.segment import Record, Segment

_LONGEST_RUN = 256 * 1024
_MOST_IN_A_RUN = 16


class Taken(NamedTuple):
    """A record that is to be sent, and where its body was when it was taken: in a segment or in memory."""

    record: Record
    segment: Segment | None
    body: bytes | None


def read_bodies(taken: Iterable[Taken], between: Callable[[], object]) -> list[bytes | None]:
    """Return the bodies in the same order, None where the disk no longer holds one. ``between`` is called now and then."""
    bodies: list[bytes | None] = []
    for run in _runs(taken):
        segment = run[0].segment
        bodies += [run[0].body] if segment is None else _read(segment, [each.record for each in run])
        between()
    return bodies


def _runs(taken: Iterable[Taken]) -> Iterator[list[Taken]]:
    """Yield what lies one behind the other in the same file; what is in memory each for itself."""
    run: list[Taken] = []
    size = end = 0
    for each in taken:
        record, segment, _ = each
        length = FRAME_SIZE + record.length
        follows = segment is not None and run and run[-1].segment is segment and record.offset == end
        if run and not (follows and size + length <= _LONGEST_RUN and len(run) < _MOST_IN_A_RUN):
            yield run
            run, size = [], 0
        run.append(each)
        size += length
        end = record.offset + length
    if run:
        yield run


def _read(segment: Segment, records: Sequence[Record]) -> list[bytes | None]:
    bodies: list[bytes | None] = [None] * len(records)
    with suppress(OSError):
        bodies = segment.read(records)
    if None in bodies and len(records) > 1:
        # A block that the disk has lost costs the records that lie in it, not the others.
        return [_read(segment, [record])[0] for record in records]
    return bodies
