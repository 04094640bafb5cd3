"""The local file of log records: what a line says, and that rotation, other processes and bad disks cost no line."""

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
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro._otel.sdk import SeverityNumber, get_logger
from otel_distro._runtime import diagnostics
from otel_distro.export.log_file.json_lines import encode_lines, iso, label
from otel_distro.export.log_file.writer import SIGNAL, LogFile, add_log_file
from otel_distro.redaction import Redactor
from tests.support.processes import environment
from tests.support.release import ANY_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

ROOT = Path(__file__).parents[4]
NAME = "app.jsonl"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test had said is said again."""
    monkeypatch.setattr(diagnostics, "_last", {})


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LogFile]]:
    """Opens the log of this test; closed at its end."""
    made: list[LogFile] = []

    def log_file(path: Path = tmp_path / NAME, *, size: int = 0, age: float = 0, keep: int = 1000) -> LogFile:
        made.append(LogFile(str(path), size=size, age=age, keep=keep))
        return made[-1]

    yield log_file
    for file in made:
        file.close()


def lines(telemetry: Telemetry, redactor: Redactor | None = None) -> list[dict[str, Any]]:
    """Return what the lines of all records say."""
    body = encode_lines(telemetry.logs(), redactor or Redactor()).body
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


def numbered(first: int, last: int) -> bytes:
    """Return lines of a hundred bytes."""
    return b"".join(b'{"number":%d,"x":"%b"}\n' % (number, b"x" * 60) for number in range(first, last))


def stored(folder: Path) -> list[int]:
    """Return the numbers of all lines, in the order of the files, which nobody puts away meanwhile."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob(f"{NAME}*")):
        if path.name.endswith(".part"):
            continue
        data = path.read_bytes()
        found[path.name.removesuffix(".gz")] = gzip.decompress(data) if path.name.endswith(".gz") else data
    current = found.pop(NAME, b"")
    return [json.loads(line)["number"] for line in b"".join((*found.values(), current)).splitlines()]


def until(condition: Callable[[], object]) -> None:
    """Wait until another thread has done it."""
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


def archives(folder: Path, ending: str = "") -> list[str]:
    """Return the names of what was put away."""
    return sorted(path.name for path in folder.iterdir() if re.fullmatch(rf"{NAME}\.\d{{8}}T.*Z{ending}", path.name))


def test_line_has_the_fields_of_loki(telemetry: Telemetry) -> None:
    """Time with nanoseconds, severity, body, service, trace, event name, and attributes under the names that Loki shows."""
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


def test_line_is_redacted(telemetry: Telemetry) -> None:
    """Secrets are hidden by key and by what they look like, in the body and in attributes however deep."""
    secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    get_logger("shop").emit(
        body=f"token {secret}", attributes={"password": "hunter2", "nested": {"api_key": secret, "text": secret}}
    )
    redactor = Redactor()
    (line,) = lines(telemetry, redactor)
    assert "hunter2" not in json.dumps(line)
    assert "ghp_" not in json.dumps(line)
    assert sum(redactor.hidden.values()) == 4


def test_hostile_values_make_one_line_each(telemetry: Telemetry) -> None:
    """Line ends, surrogates, NaN, huge numbers and texts: still one object of JSON a line, and bounded."""
    get_logger("shop").emit(body="a\nb\u2028\x85\ud800", attributes={"nan": float("nan"), "big": 1 << 80})
    get_logger("shop").emit(body="x" * 10_000_000)
    body = encode_lines(telemetry.logs(), Redactor()).body
    assert body.count(b"\n") == 2
    first, second = map(json.loads, body.splitlines() if b"\x85" not in body else body.split(b"\n")[:2])
    assert first["body"] == "a\nb\u2028\x85\ud800"
    assert (first["nan"], first["big"]) == ("nan", str(1 << 80))
    assert len(second["body"]) == 256 * 1024


def test_record_that_cannot_be_read_costs_itself(telemetry: Telemetry) -> None:
    """What is no record is counted, and its neighbours are written."""
    get_logger("shop").emit(body="one")
    encoded = encode_lines([object(), *telemetry.logs()], Redactor())
    assert (encoded.count, encoded.dropped) == (1, {"unencodable": 1})


@pytest.mark.parametrize(
    ("key", "name"), [("a.b-c", "a_b_c"), ("1st", "key_1st"), ("ключ", "____"), ("", "_"), (7, "key_7")]
)
def test_name_of_an_attribute(key: Any, name: str) -> None:
    """What Loki does not allow in a name is an underscore, and no name begins with a digit."""
    assert label(key) == name


def test_time() -> None:
    """Nine digits after the second, also where there are none, and never before 1970."""
    assert [iso(value) for value in (0, 1_000_000_001, -5)] == [
        "1970-01-01T00:00:00.000000000Z",
        "1970-01-01T00:00:01.000000001Z",
        "1970-01-01T00:00:00.000000000Z",
    ]


def test_file_is_put_away_by_size(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """No file is larger than it may be, every line is in one of them, and those that are full become archives."""
    file = make(size=1000)
    for first in range(0, 200, 25):
        file.append("log_file", numbered(first, first + 25), 25)
    until(lambda: not archives(tmp_path) and not list(tmp_path.glob("*.part")))
    assert stored(tmp_path) == list(range(200))
    assert len(archives(tmp_path, r"\.gz")) > 15
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        size = len(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else path.stat().st_size
        assert 0 < size <= 1000
    assert file.lost == 0


def test_line_that_is_longer_than_a_file(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """It has a file of its own and is whole."""
    file = make(size=10)
    file.append("log_file", numbered(0, 3), 3)
    until(lambda: not archives(tmp_path) and not list(tmp_path.glob("*.part")))
    assert stored(tmp_path) == [0, 1, 2]
    assert len(archives(tmp_path, r"\.gz")) == 2


@pytest.mark.parametrize("keep", [0, 3])
def test_archives_are_bounded(tmp_path: Path, make: Callable[..., LogFile], keep: int) -> None:
    """The oldest archives go; with none to be kept there is the file alone."""
    file = make(size=200, keep=keep)
    for number in range(40):
        file.append("log_file", numbered(number, number + 1), 1)
    until(lambda: len(archives(tmp_path, r"\.gz")) == keep and not archives(tmp_path))
    numbers = stored(tmp_path)
    assert numbers == list(range(40 - len(numbers), 40))
    assert len(numbers) <= 2 * (keep + 1)


def test_file_is_put_away_by_age(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """A file whose first line is older than it may be is put away, also one that another process has begun."""
    old = datetime.now(timezone.utc).timestamp() - 3600
    (tmp_path / NAME).write_text(f'{{"timestamp":"{iso(int(old * 1e9))}","number":0}}\n', encoding="utf-8")
    young = make(age=7200)
    young.append("log_file", b'{"number":1}\n', 1)
    assert not archives(tmp_path, r"(\.gz)?")
    make(age=1800).append("log_file", b'{"number":2}\n', 1)
    assert len(archives(tmp_path, r"(\.gz)?")) == 1
    young.append("log_file", b'{"number":3}\n', 1)
    assert (tmp_path / NAME).read_bytes() == b'{"number":2}\n{"number":3}\n'


def test_what_a_killed_process_left(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """Half a line gets its end, a file that was put away is compressed, and half an archive is made anew."""
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


def test_file_that_somebody_moves_away(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """After a rename, as logrotate does it, a new file of the name is written."""
    file = make()
    file.append("log_file", numbered(0, 1), 1)
    (tmp_path / NAME).rename(tmp_path / "moved")
    file.append("log_file", numbered(1, 2), 1)
    assert (tmp_path / NAME).read_bytes() == numbered(1, 2)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "below a file"])
def test_path_that_cannot_be_written(
    tmp_path: Path, make: Callable[..., LogFile], capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """One line says so, what a link points to is not touched, and when it works again what waited is written."""
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
    assert file.lost == 0
    assert capfd.readouterr().err == f"otel-distro: log records are written to {path} again; 0 are missing\n"


def test_what_waits_is_bounded(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """As long as a file cannot be written, four megabytes of the newest lines wait; the older ones are counted as lost."""
    (tmp_path / NAME).mkdir()
    file = make()
    megabyte = b'{"number":1}\n' * 80_000
    for _ in range(10):
        file.append("log_file", megabyte, 80_000)
    assert file.lost == 6 * 80_000
    (tmp_path / NAME).rmdir()
    file.append("log_file", numbered(2, 3), 1)
    assert (tmp_path / NAME).read_bytes() == megabyte * 4 + numbered(2, 3)


def test_lock_that_somebody_keeps(tmp_path: Path, make: Callable[..., LogFile]) -> None:
    """A process that was stopped with the lock in its hand is waited for once, and what waits is written after it."""
    file, other = make(), os.open(tmp_path / NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    for number in range(100):
        file.append("log_file", numbered(number, number + 1), 1)
    os.close(other)
    file._retry_at = 0
    file.append("log_file", numbered(100, 101), 1)
    assert (tmp_path / NAME).read_bytes() == numbered(0, 101)


def test_what_the_queue_drops_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that no line can be made of, and one that the queue had no room for, are missing in the file too."""
    monkeypatch.setenv("OTEL_DISTRO_LOG_FILE", str(tmp_path / NAME))
    pipeline: Any = SimpleNamespace(queues={})
    file = add_log_file(pipeline)
    queue = pipeline.queues[SIGNAL]
    for _ in range(queue.capacity + 5):
        queue.put(object())
    queue.drop_beyond_capacity()
    assert file.lost == 5
    while queue.spool_batch():
        pass
    assert file.lost == queue.capacity + 5
    assert not (tmp_path / NAME).exists()


WRITER = """
import os, sys
from otel_distro.export.log_file.writer import SIGNAL, LogFile, add_log_file
file = LogFile("app.jsonl", size=4000, age=0, keep=100000)
first = int(sys.argv[1])
for number in range(first, first + 500, 5):
    if number == first + 250 and os.fork() == 0:
        for more in range(first + 500, first + 600, 10):
            file.append("log_file", b"".join(b'{"number":%d,"x":"%b"}\\n' % (n, b"x" * 60) for n in range(more, more + 10)), 10)
        os._exit(file.lost)
    file.append("log_file", b"".join(b'{"number":%d,"x":"%b"}\\n' % (n, b"x" * 60) for n in range(number, number + 5)), 5)
_, status = os.wait()
sys.exit(file.lost or status)
"""


def test_processes_write_to_one_file(tmp_path: Path) -> None:
    """Four processes that each fork, in a file that is put away every forty lines: every line is there once and whole."""
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
file = LogFile("app.jsonl", size=0, age=0, keep=1)
line = b'{"number":%d,"x":"' + b"x" * 60 + b'"}\\n'
file.append("log_file", line % 0, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(line % 0) + 20, resource.RLIM_INFINITY))
for number in range(1, 4):
    file.append("log_file", line % number, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append("log_file", line % 4, 1)
print(file.lost)
"""


def test_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """No half line stays, one line says so, and what waited is written when there is room."""
    environ = environment(tmp_path, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", FULL_DISK]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout == "0\n", ended.stderr
    assert stored(tmp_path) == [0, 1, 2, 3, 4]
    first, second = ended.stderr.splitlines()
    assert "log records cannot be written to" in first
    assert second.endswith("again; 0 are missing")
