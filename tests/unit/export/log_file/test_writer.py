"""The local file of log records: its lines, rotation, several processes, and disk errors."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro._otel.sdk import SeverityNumber, get_logger
from otel_distro._runtime import diagnostics
from otel_distro._runtime.json_lines import iso
from otel_distro.export.log_file.json_lines import encode_lines, label
from otel_distro.export.log_file.writer import SIGNAL, LogFile, add_log_file
from otel_distro.redaction import Redactor
from tests.support.processes import environment
from tests.support.release import ANY_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.export.signal_queue import SignalQueue
    from otel_distro.testing import Telemetry

ROOT = Path(__file__).parents[4]
NAME = "app.jsonl"


@pytest.fixture(autouse=True)
def no_message_is_rate_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of earlier tests are printed again."""
    monkeypatch.setattr(diagnostics, "_last", {})


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LogFile]]:
    """Opens the log of this test; closed at its end."""
    made: list[LogFile] = []

    def log_file(
        path: Path = tmp_path / NAME, *, max_bytes: int = 0, max_age: float = 0, backup_count: int = 1000
    ) -> LogFile:
        made.append(LogFile(str(path), max_bytes=max_bytes, max_age=max_age, backup_count=backup_count))
        return made[-1]

    yield log_file
    for file in made:
        file.close()


def lines(telemetry: Telemetry, redactor: Redactor | None = None) -> list[dict[str, Any]]:
    """Return the decoded lines of all records."""
    body = encode_lines(telemetry.logs(), redactor or Redactor()).body
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


def numbered(first: int, last: int) -> bytes:
    """Return lines of about a hundred bytes, numbered."""
    return b"".join(b'{"number":%d,"x":"%b"}\n' % (number, b"x" * 60) for number in range(first, last))


def stored(folder: Path) -> list[int]:
    """Return the numbers of all lines, in the order of the files.

    Nothing may be rotated meanwhile.
    """
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob(f"{NAME}*")):
        if path.name.endswith(".part"):
            continue
        data = path.read_bytes()
        found[path.name.removesuffix(".gz")] = gzip.decompress(data) if path.name.endswith(".gz") else data
    current = found.pop(NAME, b"")
    return [json.loads(line)["number"] for line in b"".join((*found.values(), current)).splitlines()]


def until(condition: Callable[[], object]) -> None:
    """Wait until another thread has made the condition true."""
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def archives(folder: Path, ending: str = "") -> list[str]:
    """Return the names of the rotated files with this suffix."""
    return sorted(path.name for path in folder.iterdir() if re.fullmatch(rf"{NAME}\.\d{{8}}T.*Z{ending}", path.name))


def test_line_of_event_has_the_fields_of_loki(telemetry: Telemetry) -> None:
    """A line holds the fields of the record and its attributes, under Loki's names.

    Time in nanoseconds, severity, body, service, trace, event name.
    """
    with trace.get_tracer("app").start_as_current_span("request") as span:
        get_logger("shop").emit(
            timestamp=1_767_225_600_000_000_001,
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body="it failed",
            event_name="order.paid",
            attributes={
                "exception.type": "ValueError",
                "http.response.status_code": 500,
                "9-lives": True,
                "body": "another",
                "user": {"id": 7, "tags": ["a", 1.5]},
            },
        )
    context = span.get_span_context()
    assert lines(telemetry) == [
        {
            "timestamp": "2026-01-01T00:00:00.000000001Z",
            "severity_text": "ERROR",
            "severity_number": 17,
            "body": "it failed",
            "event_name": "order.paid",
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
            "scope_name": "shop",
            "exception_type": "ValueError",
            "http_response_status_code": 500,
            "key_9_lives": True,
            "body_extracted": "another",
            "user_id": 7,
            "user_tags": ["a", 1.5] if ANY_VALUES else None,
        }
    ]


def test_line_with_secrets_is_redacted(telemetry: Telemetry) -> None:
    """Secrets are masked by key and by pattern, in the body and in attributes at any depth."""
    secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    get_logger("shop").emit(
        body=f"token {secret}", attributes={"password": "hunter2", "nested": {"api_key": secret, "text": secret}}
    )
    redactor = Redactor()
    (line,) = lines(telemetry, redactor)
    assert "hunter2" not in json.dumps(line)
    assert "ghp_" not in json.dumps(line)
    assert sum(redactor.hidden.values()) == 4


def test_line_of_hostile_values_is_one_bounded_object(telemetry: Telemetry) -> None:
    """Line ends, surrogates, NaN, huge numbers and texts.

    Each record is one JSON object of bounded size.
    """
    get_logger("shop").emit(body="a\nb\u2028\x85\ud800", attributes={"nan": float("nan"), "big": 1 << 80})
    get_logger("shop").emit(body="x" * 10_000_000)
    body = encode_lines(telemetry.logs(), Redactor()).body
    assert body.count(b"\n") == 2
    first, second = map(json.loads, body.splitlines() if b"\x85" not in body else body.split(b"\n")[:2])
    assert first["body"] == "a\nb\u2028\x85\ud800"
    assert (first["nan"], first["big"]) == ("nan", str(1 << 80))
    assert len(second["body"]) == 256 * 1024


def test_record_that_is_unreadable_is_dropped_alone(telemetry: Telemetry) -> None:
    """An object that is not a record is counted as dropped; the records beside it are written."""
    get_logger("shop").emit(body="one")
    encoded = encode_lines([object(), *telemetry.logs()], Redactor())
    assert (encoded.count, encoded.dropped) == (1, {"unencodable": 1})


@pytest.mark.parametrize(
    ("key", "name"), [("a.b-c", "a_b_c"), ("1st", "key_1st"), ("ключ", "____"), ("", "_"), (7, "key_7")]
)
def test_label_of_attribute_is_valid_in_loki(key: Any, name: str) -> None:
    """Characters that Loki does not allow become underscores; no name begins with a digit."""
    assert label(key) == name


def test_timestamp_has_nine_digits_and_is_not_before_1970() -> None:
    """A time has nine digits after the second, zeros included, and a negative one becomes 1970."""
    assert [iso(value) for value in (0, 1_000_000_001, -5)] == [
        "1970-01-01T00:00:00.000000000Z",
        "1970-01-01T00:00:01.000000001Z",
        "1970-01-01T00:00:00.000000000Z",
    ]


def test_file_above_max_bytes_is_rotated(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """No file exceeds the limit, every line is in one of them, and full files are compressed."""
    file = make(max_bytes=1000)
    for first in range(0, 200, 25):
        file.append("log_file", numbered(first, first + 25), 25)
    until(lambda: not archives(tmp_path) and not list(tmp_path.glob("*.part")))
    assert stored(tmp_path) == list(range(200))
    assert len(archives(tmp_path, r"\.gz")) > 15
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        size = len(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else path.stat().st_size
        assert 0 < size <= 1000
    assert file.dropped == 0


def test_line_longer_than_max_bytes_is_written_whole(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """It has a file of its own."""
    file = make(max_bytes=10)
    file.append("log_file", numbered(0, 3), 3)
    until(lambda: not archives(tmp_path) and not list(tmp_path.glob("*.part")))
    assert stored(tmp_path) == [0, 1, 2]
    assert len(archives(tmp_path, r"\.gz")) == 2


@pytest.mark.parametrize("keep", [0, 3])
def test_rotated_files_beyond_backup_count_are_deleted(tmp_path: Path, make: Callable[..., LogFile], keep: int) -> None:
    """The oldest rotated files are deleted; with a count of 0 only the log file exists."""
    file = make(max_bytes=200, backup_count=keep)
    for number in range(40):
        file.append("log_file", numbered(number, number + 1), 1)
    until(lambda: len(archives(tmp_path, r"\.gz")) == keep and not archives(tmp_path))
    numbers = stored(tmp_path)
    assert numbers == list(range(40 - len(numbers), 40))
    assert len(numbers) <= 2 * (keep + 1)


def test_file_older_than_max_age_is_rotated(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """A file whose first line is too old is rotated, also if another process has begun it."""
    old = datetime.now(timezone.utc).timestamp() - 3600
    (tmp_path / NAME).write_text(f'{{"timestamp":"{iso(int(old * 1e9))}","number":0}}\n', encoding="utf-8")
    young = make(max_age=7200)
    young.append("log_file", b'{"number":1}\n', 1)
    assert not archives(tmp_path, r"(\.gz)?")
    make(max_age=1800).append("log_file", b'{"number":2}\n', 1)
    # While it is compressed, both files are there.
    assert len({str(each).removesuffix(".gz") for each in archives(tmp_path, r"(\.gz)?")}) == 1
    young.append("log_file", b'{"number":3}\n', 1)
    assert (tmp_path / NAME).read_bytes() == b'{"number":2}\n{"number":3}\n'


def test_leftovers_of_killed_process_are_completed(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """Half a line is ended, and a rotated file is compressed, again if it was done by half."""
    (tmp_path / NAME).write_bytes(b'{"number":0}\n{"num')
    stamp = f"{NAME}.20260101T000000.000000001Z"
    (tmp_path / stamp).write_bytes(numbered(1, 5))
    (tmp_path / f"{stamp}.gz.part").write_bytes(b"half")
    (tmp_path / f"{NAME}.20250101T000000.000000001Z.gz.part").write_bytes(b"orphan")
    make().append("log_file", b'{"number":9}\n', 1)
    until(lambda: archives(tmp_path, r"\.gz") == [f"{stamp}.gz"] and not archives(tmp_path))
    assert gzip.decompress((tmp_path / f"{stamp}.gz").read_bytes()) == numbered(1, 5)
    assert not list(tmp_path.glob("*.part"))
    assert (tmp_path / NAME).read_bytes() == b'{"number":0}\n{"num\n{"number":9}\n'


def test_file_moved_by_logrotate_is_created_again(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """After a rename, as logrotate does it, lines go to a new file of the name."""
    file = make()
    file.append("log_file", numbered(0, 1), 1)
    (tmp_path / NAME).rename(tmp_path / "moved")
    file.append("log_file", numbered(1, 2), 1)
    assert (tmp_path / NAME).read_bytes() == numbered(1, 2)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "below a file"])
def test_path_that_is_not_writable_is_reported_once_and_lines_are_buffered(
    tmp_path: Path, make: Callable[..., LogFile], capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """One message is printed, and buffered lines are written later.

    The target of a link stays untouched.
    """
    path, target = tmp_path / NAME, tmp_path / "target"
    target.write_text("mine", encoding="utf-8")
    if kind == "link":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = target / NAME
    file = make(path)
    file.append("log_file", numbered(0, 2), 2)
    file.append("log_file", numbered(2, 3), 1)
    assert target.read_text(encoding="utf-8") == "mine"
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith(f"otel-distro: log records cannot be written to {path}: ")

    if kind == "below a file":
        target.unlink()
    else:
        path.rmdir() if kind == "folder" else path.unlink()
    file.append("log_file", numbered(3, 4), 1)
    assert path.read_bytes() == numbered(0, 4)
    assert file.dropped == 0
    assert capfd.readouterr().err == f"otel-distro: log records are written to {path} again; 0 were dropped [OD401]\n"


def test_buffer_of_unwritable_file_keeps_the_newest_four_megabytes(
    tmp_path: Path, make: Callable[..., LogFile]
) -> None:
    """While a file cannot be written, the newest 4 MiB of lines are buffered.

    Older ones are counted.
    """
    (tmp_path / NAME).mkdir()
    file = make()
    megabyte = b'{"number":1}\n' * 80_000
    for _ in range(10):
        file.append("log_file", megabyte, 80_000)
    assert file.dropped == 6 * 80_000
    (tmp_path / NAME).rmdir()
    file.append("log_file", numbered(2, 3), 1)
    assert (tmp_path / NAME).read_bytes() == megabyte * 4 + numbered(2, 3)


def test_lock_held_by_stopped_process_is_awaited_once(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """A process that was stopped with the lock delays one write.

    The buffered lines follow later.
    """
    file, other = make(), os.open(tmp_path / NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    for number in range(100):
        file.append("log_file", numbered(number, number + 1), 1)
    os.close(other)
    file._retry_at = 0
    file.append("log_file", numbered(100, 101), 1)
    assert (tmp_path / NAME).read_bytes() == numbered(0, 101)


def test_queue_drops_are_counted_as_missing_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that cannot be encoded, and one beyond the queue's capacity, count as dropped."""
    monkeypatch.setenv("OTEL_DISTRO_LOG_FILE", str(tmp_path / NAME))
    queues: dict[str, SignalQueue] = {}
    file = add_log_file(queues)
    queue = queues[SIGNAL]
    for _ in range(queue.capacity + 5):
        queue.put(object())
    queue.drop_beyond_capacity()
    assert file.dropped == 5
    while queue.spool_batch():
        pass
    assert file.dropped == queue.capacity + 5
    assert not (tmp_path / NAME).exists()


WRITER = """
import os, sys
from otel_distro.export.log_file.writer import SIGNAL, LogFile, add_log_file
file = LogFile("app.jsonl", max_bytes=4000, max_age=0, backup_count=100000)
first = int(sys.argv[1])
for number in range(first, first + 500, 5):
    if number == first + 250 and os.fork() == 0:
        for more in range(first + 500, first + 600, 10):
            file.append("log_file", b"".join(b'{"number":%d,"x":"%b"}\\n' % (n, b"x" * 60) for n in range(more, more + 10)), 10)
        os._exit(file.dropped)
    file.append("log_file", b"".join(b'{"number":%d,"x":"%b"}\\n' % (n, b"x" * 60) for n in range(number, number + 5)), 5)
_, status = os.wait()
sys.exit(file.dropped or status)
"""


def test_file_of_several_processes_holds_every_line_once(tmp_path: Path) -> None:
    """Four processes that each fork write to a file that is rotated every forty lines.

    No line is lost.
    """
    environ = environment(tmp_path, PYTHONPATH=str(ROOT))
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(first)], cwd=tmp_path, env=environ)
        for first in range(0, 4000, 1000)
    ]
    assert [process.wait(60) for process in started] == [0] * 4
    assert sorted(stored(tmp_path)) == [first + number for first in range(0, 4000, 1000) for number in range(600)]
    assert len(archives(tmp_path, r"(\.gz)?")) > 40


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from otel_distro.export.log_file.writer import SIGNAL, LogFile, add_log_file
file = LogFile("app.jsonl", max_bytes=0, max_age=0, backup_count=1)
line = b'{"number":%d,"x":"' + b"x" * 60 + b'"}\\n'
file.append("log_file", line % 0, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(line % 0) + 20, resource.RLIM_INFINITY))
for number in range(1, 4):
    file.append("log_file", line % number, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append("log_file", line % 4, 1)
print(file.dropped)
"""


def test_disk_full_for_a_while_loses_no_line(tmp_path: Path) -> None:
    """No half line stays, and buffered lines are written later. One message is printed."""
    environ = environment(tmp_path, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", FULL_DISK]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout == "0\n", ended.stderr
    assert stored(tmp_path) == [0, 1, 2, 3, 4]
    first, second = ended.stderr.splitlines()
    assert "log records cannot be written to" in first
    assert second.endswith("again; 0 were dropped [OD401]")
