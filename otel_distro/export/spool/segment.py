"""The format of the spool's files, and one open file of it.

A segment is a header and records one after the other, little-endian. A record is an encoded OTLP request:

    marker 8 | state 4 | signal 12 | items 4 | time 8 | length 4 | CRC of the body 4 | CRC of this header 4 | body

The marker is drawn for each file and stands in its header and its name, so that after damage the next record can be
found again, and nobody who gets bytes of his own into a body (an attacker's log line) can make them pass for a record.
CRCs are zlib's CRC-32: they find accidents, they are no signature. The state is outside of them because it changes:
:meth:`Segment.mark` overwrites four bytes in place when the collector has taken a record. That costs one small write,
survives the process, needs no second file that could disagree with this one, and works while the disk is full. A
process that is killed between the collector's answer and that write leaves the record to be sent once more.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGNALS = frozenset({"traces", "metrics", "logs", "profiles"})

MAX_BODY = 64 * 1024 * 1024
"""Bytes of the longest body; OTLP receivers refuse far smaller ones."""

_MAGIC = b"OTLPSPL1"
# Magic, marker, creation (Unix ns), pid, boot id, time since boot (ns), service, CRC of all that.
_HEADER = struct.Struct("<8s8sQQ16sQ196s")
_RECORD = struct.Struct("<8s4s12sIQII")
_CRC = struct.Struct("<I")
_STATE_OFFSET = 8
_WAITING, _DONE = b"wait", b"DONE"

HEADER_SIZE = _HEADER.size + _CRC.size
FRAME_SIZE = _RECORD.size + _CRC.size
"""Bytes of a record besides its body."""

_WINDOW = 256 * 1024
_LONGEST_FILE = 2 * MAX_BODY
_NEVER_SET = 1_577_836_800 * 10**9
"""1 January 2020 in ns: a clock before it was never set (boards without a battery start in 1970)."""


class Clock:
    """The time of day, which people and daemons set, and the time since boot, which nobody does."""

    _boot: bytes | None = None

    def wall(self) -> int:
        """Return Unix time in ns."""
        return time.time_ns()

    def uptime(self) -> int:
        """Return ns since boot."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def boot(self) -> bytes:
        """Return 16 bytes that tell this boot from every other, zeros where the system has none."""
        if self._boot is None:
            try:
                with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                    self._boot = bytes.fromhex(file.read().strip().replace("-", ""))
            except (OSError, ValueError):
                self._boot = bytes(16)
        return self._boot


@dataclass(frozen=True)
class Header:
    """What a segment says of itself: its marker, when it was begun (Unix ns, boot, ns since boot), by whom."""

    marker: bytes
    created: int
    pid: int
    boot: bytes
    uptime: int
    service: str

    def pack(self) -> bytes:
        """Return the bytes a segment begins with."""
        service = self.service.encode("utf-8", "replace")[:196]
        data = _HEADER.pack(_MAGIC, self.marker, self.created, self.pid, self.boot, self.uptime, service)
        return data + _CRC.pack(zlib.crc32(data))

    @classmethod
    def unpack(cls, data: bytes) -> Header | None:
        """Read the beginning of a segment; None where it is not one or is damaged."""
        if len(data) < HEADER_SIZE or not data.startswith(_MAGIC):
            return None
        if zlib.crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
            return None
        _, marker, created, pid, boot, uptime, service = _HEADER.unpack_from(data)
        return cls(marker, created, pid, boot, uptime, service.rstrip(b"\0").decode("utf-8", "ignore"))

    def age(self, clock: Clock) -> float:
        """Return seconds since the segment was begun, 0 where that cannot be known.

        Within one boot the wall clock has no say: setting it makes nothing older. A date in the future, or one from
        before a clock was set, is no age at all.
        """
        if any(self.boot) and self.boot == clock.boot():
            return max(0, clock.uptime() - self.uptime) / 1e9
        if self.created < _NEVER_SET:
            return 0.0
        return max(0, clock.wall() - self.created) / 1e9


@dataclass(frozen=True)
class Entry:
    """A segment as its directory lists it. Of a foreign name the time is the file's; signal and marker are empty."""

    name: str
    stamp: int
    signal: str
    marker: bytes
    size: int


class Record:
    """One encoded request that waits: in memory (``body``) or in a segment (``segment``, ``offset``)."""

    __slots__ = ("body", "count", "done", "length", "offset", "segment", "signal", "taken", "time")

    def __init__(self, signal: str, count: int, moment: int, length: int, body: bytes | None = None) -> None:
        self.signal = signal
        self.count = count
        self.time = moment
        self.length = length
        self.body = body
        self.segment: Segment | None = None
        self.offset = 0
        self.taken = False
        self.done = False


@dataclass(frozen=True)
class Damage:
    """A stretch of a segment that holds no sound record, and what was lost there as far as it is known."""

    offset: int
    length: int
    signal: str = ""
    count: int = 1


class Segment:
    """An open segment. Not thread-safe: the spool holds its lock around everything but :meth:`read`."""

    def __init__(self, entry: Entry, descriptor: int, header: Header | None) -> None:
        found = os.fstat(descriptor)
        self.name = entry.name
        self.descriptor = descriptor
        self.signal = entry.signal
        self.order = (entry.stamp, entry.name)
        self.header = header or Header(entry.marker, entry.stamp, 0, b"", 0, "")
        self.size = found.st_size
        self.records = 0
        self.waiting: deque[Record] = deque()
        self.left = 0
        self.reading = 0
        self.gone = False
        self._identity = (found.st_dev, found.st_ino)

    def names(self) -> int:
        """Return how many names the file has, -1 where the descriptor no longer is this file.

        Programs that become daemons close every descriptor, and the next file or socket of theirs gets our number:
        writing there would be a disaster. One cheap call before each use tells.
        """
        try:
            found = os.fstat(self.descriptor)
        except OSError:
            return -1
        return found.st_nlink if (found.st_dev, found.st_ino) == self._identity else -1

    def intact(self) -> bool:
        """Return whether the descriptor still is this file."""
        return self.names() >= 0

    def begin(self) -> None:
        """Write the header. Raises ``OSError``."""
        self._write(self.header.pack(), 0)

    def append(self, record: Record) -> None:
        """Write a record behind the last one and move its body there. Raises ``OSError`` and leaves no half record."""
        body = record.body or b""
        head = _RECORD.pack(
            *(self.header.marker, _WAITING, record.signal.encode("ascii"), record.count, record.time),
            *(record.length, zlib.crc32(body)),
        )
        offset = self.size
        self._write(head + _CRC.pack(_head_crc(head)) + body, offset)
        record.segment, record.offset, record.body = self, offset, None
        self.waiting.append(record)
        self.records += 1
        self.left += 1

    def _write(self, data: bytes, offset: int) -> None:
        done = os.pwrite(self.descriptor, data, offset)
        try:
            while done < len(data):
                # A disk that fills up takes a part first and raises at the next attempt.
                done += os.pwrite(self.descriptor, data[done:], offset + done)
        except OSError:
            os.ftruncate(self.descriptor, offset)
            raise
        self.size = offset + len(data)

    def read(self, records: Sequence[Record]) -> list[bytes | None]:
        """Return the bodies of records that lie one behind the other; None where the disk no longer holds what was written.

        Raises ``OSError``.
        """
        data = _pread(self.descriptor, sum(FRAME_SIZE + record.length for record in records), records[0].offset)
        bodies: list[bytes | None] = []
        offset = 0
        for record in records:
            body = offset + FRAME_SIZE
            fields = _fields(data[offset:body])
            offset = body + record.length
            found = data[body:offset]
            sound = fields is not None and fields[4] == record.length == len(found) and fields[5] == zlib.crc32(found)
            bodies.append(found if sound else None)
        return bodies

    def mark(self, record: Record) -> None:
        """Note in the file that a record needs no sending any more. Raises ``OSError``."""
        os.pwrite(self.descriptor, _DONE, record.offset + _STATE_OFFSET)

    def hold(self, records: list[Record]) -> None:
        """Take over what a scan of the file has found."""
        for record in records:
            record.segment = self
        self.waiting.extend(records)
        self.left = self.records = len(records)

    def heal(self, damage: Damage) -> None:
        """See to it that damage which was dealt with is not found again, as far as that can be. Raises ``OSError``."""
        if damage.offset + damage.length >= self.size:
            os.ftruncate(self.descriptor, damage.offset)
            self.size = damage.offset
        elif damage.signal:
            os.pwrite(self.descriptor, _DONE, damage.offset + _STATE_OFFSET)

    def forget_done(self) -> None:
        """Drop the records at the head that are done."""
        while self.waiting and self.waiting[0].done:
            self.waiting.popleft()

    def rewind(self) -> None:
        """Give the bytes back of a segment whose records are all done, and begin it anew. Raises ``OSError``."""
        os.ftruncate(self.descriptor, HEADER_SIZE)
        self.size = HEADER_SIZE
        self.records = 0
        self.waiting.clear()

    def busy(self) -> bool:
        """Return whether records of it are being read or sent just now."""
        return self.reading > 0 or any(record.taken and not record.done for record in self.waiting)

    def close(self) -> None:
        """Close the file, which gives up its lock, unless the descriptor has become somebody else's."""
        self.gone = True
        if self.intact():
            os.close(self.descriptor)


def scan(descriptor: int, marker: bytes, *, bodies: bool = True) -> Iterator[Record | Damage]:
    """Yield what a segment holds that is not done, in order: each sound record and each stretch that is none.

    Memory stays bounded whatever the file is. A header that lies about its length is not believed: the search goes on
    right behind it, with a limit on the work for files that are made of such lies. ``bodies=False`` believes sound
    headers and reads no bodies. Without a marker nothing in the file is believed. Raises ``OSError``.
    """
    size = os.fstat(descriptor).st_size
    end = min(size, _LONGEST_FILE) if marker else 0
    # Where the header of the file is damaged, bytes may be missing from it: then the first record is searched for.
    offset = HEADER_SIZE if header_of(descriptor) is not None else 0
    work = 16 * end
    unknown: Damage | None = None
    while offset < end:
        fields = _fields(_pread(descriptor, FRAME_SIZE, offset), marker)
        if fields is not None:
            if unknown is not None and (unknown.offset, offset) != (0, HEADER_SIZE):
                yield unknown
            unknown = None
            state, signal, count, moment, length, crc = fields
            behind = offset + FRAME_SIZE + length
            work -= length if bodies else 0
            if behind <= end and work > 0 and (not bodies or _body_crc(descriptor, offset + FRAME_SIZE, length) == crc):
                if state != _DONE:
                    record = Record(signal, count, moment, length)
                    record.offset = offset
                    yield record
                offset = behind
                continue
        following, cost = _find(descriptor, marker, offset + 1, end) if work > 0 else (end, 0)
        work -= cost
        if fields is None:
            # As many records were there as there are markers, if it is not junk.
            start, lost = (unknown.offset, unknown.count) if unknown is not None else (offset, 0)
            unknown = Damage(start, following - start, "", lost + 1)
        elif fields[0] != _DONE:
            yield Damage(offset, following - offset, fields[1], fields[2])
        offset = following
    if unknown is not None:
        yield Damage(unknown.offset, size - unknown.offset, "", unknown.count)
    elif end < size:
        yield Damage(end, size - end)


def header_of(descriptor: int) -> Header | None:
    """Read the header of an open segment; None where it has no sound one. Raises ``OSError``."""
    return Header.unpack(_pread(descriptor, HEADER_SIZE, 0))


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while data and len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _head_crc(head: bytes) -> int:
    return zlib.crc32(head[_STATE_OFFSET + 4 :], zlib.crc32(head[:_STATE_OFFSET]))


def _fields(data: bytes, marker: bytes = b"") -> tuple[bytes, str, int, int, int, int] | None:
    """Return state, signal, items, time, length and CRC of the body of a record's header; None where it is none."""
    if len(data) < FRAME_SIZE or not data.startswith(marker):
        return None
    if _head_crc(data[: _RECORD.size]) != _CRC.unpack_from(data, _RECORD.size)[0]:
        return None
    _, state, signal, count, moment, length, crc = _RECORD.unpack_from(data)
    return (state, signal.rstrip(b"\0").decode("ascii", "replace"), count, moment, length, crc)


def _body_crc(descriptor: int, offset: int, length: int) -> int:
    crc = 0
    while length > 0:
        data = os.pread(descriptor, min(length, _WINDOW), offset)
        if not data:
            return -1
        crc = zlib.crc32(data, crc)
        offset += len(data)
        length -= len(data)
    return crc


def _find(descriptor: int, marker: bytes, offset: int, end: int) -> tuple[int, int]:
    """Return where ``marker`` comes next from ``offset`` on, or ``end``, and how many bytes were read to know it."""
    cost = 0
    window = 512
    while offset < end:
        data = _pread(descriptor, min(window, end - offset), offset)
        cost += len(data)
        place = data.find(marker)
        if place >= 0:
            return offset + place, cost
        if len(data) < len(marker):
            break
        offset += len(data) - len(marker) + 1
        window = min(2 * window, _WINDOW)
    return end, cost
