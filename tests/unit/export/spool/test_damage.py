"""Whatever lies in the folder, sound records come out, the rest is counted, and nothing is followed or harmed."""

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
from tests.support.spool_processes import LINE, adopt_all, body, folder, segments, spool, take

if TYPE_CHECKING:
    from otel_distro.export.spool.spool import Spool

COUNT = 8
FRAME = FRAME_SIZE + LINE
STATE = range(8, 12)


def _left(home: Path, count: int = COUNT) -> Path:
    """Leave a segment of ``count`` records behind and return its path."""
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


def _sound(frames: list[bytes], data: bytes) -> list[int]:
    """Return which records still stand whole somewhere in ``data``."""
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
def test_sound_records_survive_any_edit(changes: list[tuple[str, float, int]]) -> None:
    """Bytes flipped, cut out, put in, zeroed or cut off: what is still whole is delivered, nothing else is."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        path = _left(home)
        data = path.read_bytes()
        frames = _frames(data)
        for change in changes:
            data = _edit(data, *change)
        path.write_bytes(data)
        queue = spool(home)
        adopt_all(queue)
        assert take(queue) == _sound(frames, data)
        queue.close()
        assert segments(home) == []


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(0, COUNT * FRAME - 1), st.integers(0, 7))
def test_a_flipped_bit_is_counted(at: int, bit: int) -> None:
    """A record with a flipped bit is counted, the others are delivered; in the state a flip costs nothing."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        path = _left(home)
        data = bytearray(path.read_bytes())
        data[HEADER_SIZE + at] ^= 1 << bit
        path.write_bytes(data)
        queue = spool(home)
        adopt_all(queue)
        hit = [] if at % FRAME in STATE else [at // FRAME]
        assert take(queue) == [number for number in range(COUNT) if number not in hit]
        assert _corrupt(queue) == len(hit)


@pytest.mark.parametrize("at", [0, 9, 40, HEADER_SIZE - 1])
def test_damaged_header(tmp_path: Path, at: int) -> None:
    """A damaged file header costs no record: the name says what is needed to find them."""
    path = _left(tmp_path)
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert take(queue) == list(range(COUNT))


@pytest.mark.parametrize("size", range(0, HEADER_SIZE, 51))
def test_killed_at_birth(tmp_path: Path, size: int) -> None:
    """A segment whose owner was killed before the first record was written goes without a word."""
    path = _left(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    queue = spool(tmp_path)
    adopt_all(queue)
    assert queue.dropped() == {}
    assert segments(tmp_path) == []


def test_torn_tail(tmp_path: Path) -> None:
    """A record that was cut by the end of its writer is counted and set aside once, not again by the next adopter."""
    path = _left(tmp_path)
    os.truncate(path, path.stat().st_size - 5)
    first = spool(tmp_path)
    adopt_all(first)
    assert first.dropped() == {("traces", "corrupt"): 1}
    assert len(list((folder(tmp_path) / "rejected").iterdir())) == 1
    first.close()
    second = spool(tmp_path)
    adopt_all(second)
    assert second.dropped() == {}
    assert take(second) == list(range(COUNT - 1))


def test_half_a_file_and_junk(tmp_path: Path) -> None:
    """A file cut in half with junk behind it: its sound half is delivered."""
    path = _left(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + os.urandom(64))
    queue = spool(tmp_path)
    adopt_all(queue)
    assert take(queue) == _sound(_frames(data), data[: len(data) // 2])
    assert _corrupt(queue) >= 1


def test_disk_that_forgets_while_we_run(tmp_path: Path) -> None:
    """Bytes that change after they were written are noticed when they are read; the other records are delivered."""
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


def test_body_cannot_forge_a_record(tmp_path: Path) -> None:
    """A body that contains a whole record of another file makes no record, also when what is before it is damaged."""
    forged = _left(tmp_path).read_bytes()[HEADER_SIZE : HEADER_SIZE + FRAME]
    take_all = spool(tmp_path)
    adopt_all(take_all)
    take(take_all)
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
    assert take(queue) == [7]


def test_lies_about_length(tmp_path: Path) -> None:
    """Many headers that claim huge bodies end in bounded work and memory, and hide no sound file beside them."""
    path = _left(tmp_path)
    data = path.read_bytes()
    marker = data[8:16]
    lie = marker + b"wait" + struct.pack("<12sIQII", b"traces", 1, 1, 2**32 - 1, 0)
    path.write_bytes(data + lie * 50_000)
    spool(tmp_path).close()
    _left(tmp_path)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert sorted(take(queue)) == sorted([*range(COUNT), *range(COUNT)])
    assert _corrupt(queue) >= 1


def test_sound_headers_that_overlap(tmp_path: Path) -> None:
    """Sound headers whose long bodies are wrong cannot make the search quadratic: the work is bounded."""
    from otel_distro.export.spool.format import Header
    from otel_distro.export.spool.segment import Record, Segment

    path = _left(tmp_path)
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
    assert take(queue) == []
    assert _corrupt(queue) >= 1
    assert segments(tmp_path) == []


def test_planted_files(tmp_path: Path) -> None:
    """Links, FIFOs, folders, devices and junk under a segment's name: nothing is followed, harmed or waited for."""
    path = _left(tmp_path)
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
    assert take(queue) == list(range(COUNT))
    queue.append("traces", body(99), 1)
    assert take(queue) == [99]
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
def test_unsafe_folder_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], level: str, attack: str) -> None:
    """A folder that is a link, that others may write or that is none is not used: memory, and one line that says so."""
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
    assert take(queue) == [0, 1, 2]
    assert list(elsewhere.iterdir()) == []
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(folder(home)) in lines[0]


@pytest.mark.parametrize("environ", [{"HOME": ""}, {"HOME": "/nonexistent/home"}, {"XDG_STATE_HOME": "relative"}])
def test_no_place_to_write(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a usable home the spool works from memory and writes nowhere, least of all where the program stands."""
    from otel_distro.export.spool.spool import open_spool

    monkeypatch.chdir(tmp_path)
    queue = open_spool({"HOME": str(tmp_path / "file"), **environ, "OTEL_DISTRO_SPOOL": "on"}, "../../k", "shop")
    (tmp_path / "file").write_text("")
    if environ == {"HOME": ""}:
        assert queue.pending() == {}
        return
    queue.append("traces", body(1), 1)
    assert take(queue) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
