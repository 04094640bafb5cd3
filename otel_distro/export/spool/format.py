"""The bytes of a segment file: its header, its records, and the scan that finds them in any file.

README.md in this folder draws the layout. Only this module knows offsets and structs. It keeps no
state: every function reads a descriptor or packs bytes.

The marker is drawn at random for each file. It is part of the file's header, of its name and of
each record, as the first bytes. So a scan finds the next record after damaged bytes, and bytes that
an attacker gets into a body (a log line) cannot pass for a record. Checksums are zlib's CRC-32:
they detect accidents, they are no signature.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.export.spool.clock import Clock

SIGNALS = frozenset({"traces", "metrics", "logs", "profiles"})

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Length of the longest body; OTLP receivers refuse far smaller ones."""

_MAGIC = b"OTLPSPL1"
# Magic, marker, creation (Unix ns), pid, boot id, time since boot (ns), service, CRC of all that.
_HEADER = struct.Struct("<8s8sQQ16sQ196s")
# Marker, state, signal, items, time (Unix ns), length of the body, CRC of the body.
_RECORD = struct.Struct("<8s4s12sIQII")
_CRC = struct.Struct("<I")
STATE_OFFSET = 8
"""Offset of the state in a record."""

WAITING, DONE = b"wait", b"DONE"

HEADER_SIZE = _HEADER.size + _CRC.size
"""Bytes of a file's header."""

FRAME_SIZE = _RECORD.size + _CRC.size
"""Bytes of a record besides its body."""

_SERVICE_BYTES = 196
_WINDOW_BYTES = 256 * 1024
_FIRST_WINDOW_BYTES = 512
_MAX_SCANNED_BYTES = 2 * MAX_BODY_BYTES
_WORK_FACTOR = 16
"""A scan reads at most so many times the length of the file."""

_EARLIEST_TIME_NS = 1_577_836_800 * 10**9
"""1 January 2020: a clock before it was never set (boards without a battery start in 1970)."""


@dataclass(frozen=True)
class Header:
    """The header of a segment.

    ``marker`` identifies the file's records. ``created`` (Unix ns), ``boot`` and ``uptime`` (ns
    since that boot) say when the file was created, ``pid`` and ``service`` by which process.
    """

    marker: bytes
    created: int
    pid: int
    boot: bytes
    uptime: int
    service: str

    def pack(self) -> bytes:
        """Return the bytes that a segment begins with."""
        service = self.service.encode("utf-8", "replace")[:_SERVICE_BYTES]
        data = _HEADER.pack(_MAGIC, self.marker, self.created, self.pid, self.boot, self.uptime, service)
        return data + _CRC.pack(zlib.crc32(data))

    @classmethod
    def unpack(cls, data: bytes) -> Header | None:
        """Return the header at the beginning of a segment, None where it is absent or damaged."""
        if len(data) < HEADER_SIZE or not data.startswith(_MAGIC):
            return None
        if zlib.crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
            return None
        _, marker, created, pid, boot, uptime, service = _HEADER.unpack_from(data)
        return cls(marker, created, pid, boot, uptime, service.rstrip(b"\0").decode("utf-8", "ignore"))

    def age(self, clock: Clock) -> float:
        """Return seconds since the segment was created, 0 where that is unknown.

        Within one boot only the time since boot counts, so setting the wall clock ages no segment.
        Otherwise a creation time in the future, or from before the clock was set, gives age 0.
        """
        if any(self.boot) and self.boot == clock.boot():
            return max(0, clock.uptime() - self.uptime) / 1e9
        if self.created < _EARLIEST_TIME_NS:
            return 0.0
        return max(0, clock.wall() - self.created) / 1e9


class RecordHeader(NamedTuple):
    """The fields in front of a body. ``crc`` is that of the body."""

    state: bytes
    signal: str
    items: int
    time: int
    length: int
    crc: int


class ScannedRecord(NamedTuple):
    """A record that a scan found, at ``offset`` in the file."""

    offset: int
    signal: str
    items: int
    time: int
    length: int


@dataclass(frozen=True)
class Damage:
    """A region of a segment without a valid record, and what it held, as far as that is known.

    ``signal`` is empty unless a valid record header in front of a damaged body names it.
    """

    offset: int
    length: int
    signal: str = ""
    count: int = 1


def pack_record(marker: bytes, signal: str, count: int, time: int, body: bytes) -> bytes:
    """Return the bytes of a record that waits to be sent."""
    head = _RECORD.pack(marker, WAITING, signal.encode("ascii"), count, time, len(body), zlib.crc32(body))
    return head + _CRC.pack(_head_crc(head)) + body


def unpack_record(data: bytes, marker: bytes = b"") -> RecordHeader | None:
    """Return the record header that ``data`` begins with, None where it is absent or damaged."""
    if len(data) < FRAME_SIZE or not data.startswith(marker):
        return None
    if _head_crc(data[: _RECORD.size]) != _CRC.unpack_from(data, _RECORD.size)[0]:
        return None
    _, state, signal, count, time, length, crc = _RECORD.unpack_from(data)
    return RecordHeader(state, signal.rstrip(b"\0").decode("ascii", "replace"), count, time, length, crc)


def is_intact(header: RecordHeader | None, length: int, body: bytes) -> bool:
    """Return whether header and body are those of a record whose body has ``length`` bytes."""
    return header is not None and header.length == length == len(body) and header.crc == zlib.crc32(body)


def read_header(descriptor: int) -> Header | None:
    """Return the header of an open segment, None if it is damaged. Raises ``OSError``."""
    return Header.unpack(pread(descriptor, HEADER_SIZE, 0))


def pread(descriptor: int, length: int, offset: int) -> bytes:
    """Read ``length`` bytes, fewer only at the end of the file. Raises ``OSError``."""
    data = os.pread(descriptor, length, offset)
    while data and len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def scan(descriptor: int, marker: bytes, *, bodies: bool = True) -> Iterator[ScannedRecord | Damage]:
    """Yield the records of a segment that are not done, and the damaged regions, in file order.

    Memory and work are bounded whatever the file holds: bodies are read in windows, and the scan
    reads at most 16 times the file's length. A record whose body does not match is skipped by
    searching for the next marker right behind its header, since its length may be wrong, too.

    Args:
        descriptor: The open file.
        marker: The marker of the file's records. Without one no byte of the file is accepted.
        bodies: False trusts intact record headers and reads no bodies.

    Raises:
        OSError: The file cannot be read.
    """
    size = os.fstat(descriptor).st_size
    end = min(size, _MAX_SCANNED_BYTES) if marker else 0
    # With a damaged file header, bytes of it may be missing: the first record is searched for, too.
    offset = HEADER_SIZE if read_header(descriptor) is not None else 0
    work = _WORK_FACTOR * end
    unknown: Damage | None = None
    while offset < end:
        header = unpack_record(pread(descriptor, FRAME_SIZE, offset), marker)
        if header is not None:
            if unknown is not None and (unknown.offset, offset) != (0, HEADER_SIZE):
                yield unknown
            unknown = None
            body = offset + FRAME_SIZE
            behind = body + header.length
            work -= header.length if bodies else 0
            if behind <= end and work > 0 and (not bodies or _body_crc(descriptor, body, header.length) == header.crc):
                if header.state != DONE:
                    yield ScannedRecord(offset, header.signal, header.items, header.time, header.length)
                offset = behind
                continue
        following, cost = _find_marker(descriptor, marker, offset + 1, end) if work > 0 else (end, 0)
        work -= cost
        if header is None:
            # Each marker in the region counts as one lost record, unless the file is junk.
            start, lost = (unknown.offset, unknown.count) if unknown is not None else (offset, 0)
            unknown = Damage(start, following - start, "", lost + 1)
        elif header.state != DONE:
            yield Damage(offset, following - offset, header.signal, header.items)
        offset = following
    if unknown is not None:
        yield Damage(unknown.offset, size - unknown.offset, "", unknown.count)
    elif end < size:
        yield Damage(end, size - end)


def _head_crc(head: bytes) -> int:
    """Return the CRC of a record header without its state, which changes."""
    return zlib.crc32(head[STATE_OFFSET + len(WAITING) :], zlib.crc32(head[:STATE_OFFSET]))


def _body_crc(descriptor: int, offset: int, length: int) -> int:
    crc = 0
    while length > 0:
        data = os.pread(descriptor, min(length, _WINDOW_BYTES), offset)
        if not data:
            return -1
        crc = zlib.crc32(data, crc)
        offset += len(data)
        length -= len(data)
    return crc


def _find_marker(descriptor: int, marker: bytes, offset: int, end: int) -> tuple[int, int]:
    """Return the first place of ``marker`` from ``offset`` on, or ``end``, and the bytes read."""
    cost = 0
    window = _FIRST_WINDOW_BYTES
    while offset < end:
        data = pread(descriptor, min(window, end - offset), offset)
        cost += len(data)
        place = data.find(marker)
        if place >= 0:
            return offset + place, cost
        if len(data) < len(marker):
            break
        offset += len(data) - len(marker) + 1
        window = min(2 * window, _WINDOW_BYTES)
    return end, cost
