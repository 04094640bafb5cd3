"""Damaged and planted files: intact records come out, losses count, no link is followed."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_distro.export.spool.format import FRAME_SIZE, HEADER_SIZE
from otel_distro.export.spool.inspection import inspect
from tests.support.spool_processes import LINE, adopt_all, body, drain, folder, segments, spool

if TYPE_CHECKING:
    from otel_distro.export.spool.spool import Spool

COUNT = 8
FRAME = FRAME_SIZE + LINE
STATE = range(8, 12)


def _orphan(home: Path, count: int = COUNT) -> Path:
    """Write a segment of ``count`` records, release it and return its path."""
    queue = spool(home)
    for number in range(count):
        queue.append("traces", body(number), 1)
    queue.close()
    return segments(home)[-1]


def _corrupt(queue: Spool) -> int:
    return sum(count for (_, reason), count in queue.dropped().items() if reason == "corrupt")


def _frames(data: bytes) -> list[bytes]:
    """Return the records of a segment, without their states, which may change."""
    return [_stateless(data[at : at + FRAME]) for at in range(HEADER_SIZE, HEADER_SIZE + COUNT * FRAME, FRAME)]


def _stateless(frame: bytes) -> bytes:
    return frame[: STATE.start] + b"----" + frame[STATE.stop :]


def _intact(frames: list[bytes], data: bytes) -> list[int]:
    """Return the numbers of the records that are still complete somewhere in ``data``."""
    marker = frames[0][:8]
    places = [at for at in range(len(data)) if data.startswith(marker, at)]
    whole = {_stateless(data[at : at + FRAME]) for at in places}
    return [number for number, frame in enumerate(frames) if frame in whole]


edits = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 400)),
        st.tuples(st.just("junk"), st.floats(0, 1), st.integers(1, 400)),
        st.tuples(st.just("zero"), st.floats(0, 1), st.integers(1, 400)),
        st.tuples(st.just("end"), st.floats(0, 1), st.integers(1, 400)),
    ),
    min_size=1,
    max_size=4,
)


def _edit(data: bytes, kind: str, place: float, amount: int) -> bytes:
    at = int(place * max(0, len(data) - 1))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ amount]) + data[at + 1 :] if data else data
    if kind == "cut":
        return data[:at] + data[at + amount :]
    if kind == "junk":
        return data[:at] + bytes((at * 7 + i * 13) % 256 for i in range(amount)) + data[at:]
    if kind == "zero":
        return data[:at] + bytes(len(data[at : at + amount])) + data[at + amount :]
    return data[:at]


@settings(max_examples=200, deadline=None, database=None)
@given(edits)
def test_edited_segment_delivers_exactly_the_intact_records(changes: list[tuple[str, float, int]]) -> None:
    """Whatever bytes are flipped, cut out or inserted, exactly the intact records come out."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        path = _orphan(home)
        data = path.read_bytes()
        frames = _frames(data)
        for change in changes:
            data = _edit(data, *change)
        path.write_bytes(data)
        queue = spool(home)
        adopt_all(queue)
        assert drain(queue) == _intact(frames, data)
        queue.close()
        assert segments(home) == []


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(0, COUNT * FRAME - 1), st.integers(0, 7))
def test_flipped_bit_loses_and_counts_one_record(at: int, bit: int) -> None:
    """A flipped bit loses the record it is in, which is counted; in the state it loses none."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        path = _orphan(home)
        data = bytearray(path.read_bytes())
        data[HEADER_SIZE + at] ^= 1 << bit
        path.write_bytes(data)
        queue = spool(home)
        adopt_all(queue)
        hit = [] if at % FRAME in STATE else [at // FRAME]
        assert drain(queue) == [number for number in range(COUNT) if number not in hit]
        assert _corrupt(queue) == len(hit)


@pytest.mark.parametrize("at", [0, 9, 40, HEADER_SIZE - 1])
def test_damaged_file_header_loses_no_record(tmp_path: Path, at: int) -> None:
    """The name of the file holds what is needed to find the records."""
    path = _orphan(tmp_path)
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == list(range(COUNT))


@pytest.mark.parametrize("size", range(0, HEADER_SIZE, 51))
def test_segment_without_a_record_is_deleted_silently(tmp_path: Path, size: int) -> None:
    """A segment whose owner was killed before the first record was written counts as no loss."""
    path = _orphan(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    queue = spool(tmp_path)
    adopt_all(queue)
    assert queue.dropped() == {}
    assert segments(tmp_path) == []


def test_torn_tail_is_counted_once(tmp_path: Path) -> None:
    """A record that its writer left half written is counted and kept in rejected/ only once."""
    path = _orphan(tmp_path)
    os.truncate(path, path.stat().st_size - 5)
    first = spool(tmp_path)
    adopt_all(first)
    assert first.dropped() == {("traces", "corrupt"): 1}
    assert len(list((folder(tmp_path) / "rejected").iterdir())) == 1
    first.close()
    second = spool(tmp_path)
    adopt_all(second)
    assert second.dropped() == {}
    assert drain(second) == list(range(COUNT - 1))


def test_half_a_segment_with_junk_delivers_its_intact_half(tmp_path: Path) -> None:
    """A file cut in half with junk behind it: its intact records are delivered."""
    path = _orphan(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + os.urandom(64))
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == _intact(_frames(data), data[: len(data) // 2])
    assert _corrupt(queue) >= 1


def test_record_damaged_after_the_write_is_counted_when_read(tmp_path: Path) -> None:
    """Bytes that change after the write are noticed by the read, and lose only their record."""
    queue = spool(tmp_path)
    for number in range(3):
        queue.append("traces", body(number), 5)
    with segments(tmp_path)[0].open("r+b") as file:
        file.seek(HEADER_SIZE + FRAME + FRAME_SIZE + 3)
        file.write(b"!")
    batch = queue.lease("traces", 1 << 20)
    assert batch is not None
    assert (batch.body, batch.count) == (body(0) + body(2), 10)
    queue.acknowledge(batch)
    assert queue.dropped() == {("traces", "corrupt"): 5}
    assert queue.pending() == {}


def test_body_that_contains_a_record_forges_none(tmp_path: Path) -> None:
    """A record of another file inside a body is no record, even behind damaged bytes."""
    forged = _orphan(tmp_path).read_bytes()[HEADER_SIZE : HEADER_SIZE + FRAME]
    earlier = spool(tmp_path)
    adopt_all(earlier)
    drain(earlier)
    queue = spool(tmp_path)
    queue.append("traces", forged * 3, 1)
    queue.append("traces", body(7), 1)
    queue.close()
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[HEADER_SIZE + 14] ^= 1
    path.write_bytes(data)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == [7]


def test_headers_with_false_lengths_end_in_bounded_work(tmp_path: Path) -> None:
    """Many headers that claim huge bodies cost bounded work, and hide no intact file beside."""
    path = _orphan(tmp_path)
    data = path.read_bytes()
    marker = data[8:16]
    lie = marker + b"wait" + struct.pack("<12sIQII", b"traces", 1, 1, 2**32 - 1, 0)
    path.write_bytes(data + lie * 50_000)
    spool(tmp_path).close()
    _orphan(tmp_path)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert sorted(drain(queue)) == sorted([*range(COUNT), *range(COUNT)])
    assert _corrupt(queue) >= 1


def test_overlapping_headers_end_in_bounded_work(tmp_path: Path) -> None:
    """Intact headers whose long bodies do not match cannot make the scan quadratic."""
    from otel_distro.export.spool.format import Header
    from otel_distro.export.spool.segment import Record, Segment

    path = _orphan(tmp_path)
    data = bytearray(path.read_bytes()[:HEADER_SIZE])
    with tempfile.TemporaryFile() as file:
        from otel_distro.export.spool.segment import Entry

        descriptor = os.dup(file.fileno())
        entry = Entry(path.name, 1, "traces", bytes(data[8:16]), 0)
        segment = Segment(entry, descriptor, Header.unpack(bytes(data)))
        segment.append(Record("traces", 1, 1, 4_000_000, b"x" * 4_000_000))
        head = os.pread(descriptor, FRAME_SIZE, 0)
        segment.close()
    path.write_bytes(bytes(data) + head * 160_000)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == []
    assert _corrupt(queue) >= 1
    assert segments(tmp_path) == []


def test_planted_files_are_neither_followed_nor_changed(tmp_path: Path) -> None:
    """Links, FIFOs, folders, devices and junk named like segments are not followed or changed."""
    path = _orphan(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    place = folder(tmp_path)
    plain = "1700000000000000000-1-00112233445566{:02x}.traces.seg"
    os.symlink(secret, place / plain.format(1))
    os.link(secret, place / plain.format(2))
    (place / plain.format(3)).mkdir()
    os.mkfifo(place / plain.format(4))
    (place / plain.format(5)).write_bytes(os.urandom(1 << 20) * 30)
    os.symlink(place, place / "2026-11-23T000000.000000-00000001.seg")
    (place / "9999-01-01T000000.000000-00000003.seg").write_bytes(os.urandom(1 << 16))
    (place / "notes.txt").write_text("mine")
    if os.geteuid() == 0:
        os.mknod(place / plain.format(6), 0o20600, os.makedev(1, 5))
    with (place / plain.format(7)).open("wb") as file:
        file.truncate(1 << 40)
    before = secret.read_bytes()

    queue = spool(tmp_path)
    assert sum(found.items for found in inspect({"XDG_STATE_HOME": str(tmp_path)})) == COUNT
    adopt_all(queue)
    assert drain(queue) == list(range(COUNT))
    queue.append("traces", body(99), 1)
    assert drain(queue) == [99]
    queue.close()

    assert secret.read_bytes() == before
    assert (place / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in segments(tmp_path) if p.is_file() and not p.is_symlink()) == [plain.format(2)]
    kept = list((place / "rejected").iterdir())
    assert len(kept) == 3
    assert sum(p.stat().st_size for p in kept) < 1 << 20
    assert queue.dropped() == {("unknown", "corrupt"): 3}


@pytest.mark.parametrize("level", ["otel-distro", "otel-distro/spool", "otel-distro/spool/k1"])
@pytest.mark.parametrize("attack", ["link", "writable", "file"])
def test_unsafe_folder_is_not_used_and_reported_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], level: str, attack: str
) -> None:
    """For a link, a file or a folder that others may write, memory is used and one line says so."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    place = home / level
    place.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    elsewhere.mkdir()
    if attack == "link":
        place.symlink_to(elsewhere)
    elif attack == "writable":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.write_text("")
    queue = spool(home)
    for number in range(3):
        queue.append("traces", body(number), 1)
    assert not queue.durable
    assert drain(queue) == [0, 1, 2]
    assert list(elsewhere.iterdir()) == []
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(folder(home)) in lines[0]


@pytest.mark.parametrize("environ", [{"HOME": ""}, {"HOME": "/nonexistent/home"}, {"XDG_STATE_HOME": "relative"}])
def test_user_without_a_usable_home_gets_a_spool_in_memory(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a usable home directory no file is written, not even in the working directory."""
    from otel_distro.export.spool.spool import open_spool

    monkeypatch.chdir(tmp_path)
    queue = open_spool({"HOME": str(tmp_path / "file"), **environ, "OTEL_DISTRO_SPOOL": "on"}, "../../k", "shop")
    (tmp_path / "file").write_text("")
    if environ == {"HOME": ""}:
        assert queue.pending() == {}
        return
    queue.append("traces", body(1), 1)
    assert drain(queue) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
