"""Concurrent writers of one audit file: processes, threads, forks, signals, kills, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from otel_distro.audit.chain import AuditFile
from otel_distro.audit.seal import Seal
from tests.support.audit_chain import verify, write
from tests.support.processes import environment

ROOT = Path(__file__).parents[3]
NAME = "audit.jsonl"

WRITER = """
import os, sys
from otel_distro import audit
for number in range(int(sys.argv[1])):
    audit.event("order.paid", actor=os.getpid(), reason=str(number))
    os.write(1, b"%d %d\\n" % (os.getpid(), number))
"""
PARENT = """
import os
from otel_distro import audit
audit.event("parent.before")
for _ in range(2):
    if os.fork() == 0:
        for number in range(50):
            audit.event("order.paid", actor=os.getpid(), reason=str(number))
            os.write(1, b"%d %d\\n" % (os.getpid(), number))
        os._exit(0)
for number in range(50):
    audit.event("order.paid", actor=os.getpid(), reason=str(number))
    os.write(1, b"%d %d\\n" % (os.getpid(), number))
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


def test_concurrent_processes_lose_no_event_when_one_is_killed(tmp_path: Path) -> None:
    """Four processes, one forks, one is killed: every event whose call returned is there once."""
    file = tmp_path / NAME
    environ = environment(
        tmp_path, OTEL_DISTRO_AUDIT_FILE=str(file), OTEL_DISTRO_AUDIT_FILE_MAX_BYTES="20000", PYTHONPATH=str(ROOT)
    )

    def start(program: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=tmp_path)

    finite = [start(WRITER, "100"), start(WRITER, "100"), start(PARENT)]
    killed = start(WRITER, "1000000")
    acknowledged: list[bytes] = []
    assert killed.stdout is not None
    while len(acknowledged) < 60:
        acknowledged.append(killed.stdout.readline())
    killed.send_signal(signal.SIGKILL)
    acknowledged += killed.stdout.read().splitlines(keepends=True)
    killed.wait()
    killed.stdout.close()
    for process in finite:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        acknowledged += output.splitlines(keepends=True)

    records = [
        json.loads(line) for part in sorted(tmp_path.glob(f"{NAME}.0*")) for line in part.read_bytes().splitlines()
    ]
    records += [json.loads(line) for line in file.read_bytes().splitlines()]
    written = [(line["audit_actor"], line["audit_reason"]) for line in records if "audit_actor" in line]
    promised = [tuple(line.decode().split()) for line in acknowledged if line.endswith(b"\n")]
    assert len(written) == len(set(written))
    assert set(promised) <= set(written)
    # The killed process may have written one event more than it has printed.
    assert len(written) - len(promised) in (0, 1)
    assert len([line for line in records if line["event_name"] == "audit.parent.before"]) == 1
    status, output_of_verify = verify(file)
    assert status == 0, output_of_verify


def test_file_being_written_verifies_as_intact(tmp_path: Path) -> None:
    """Repeated verification finds an intact chain while another process writes."""
    file = tmp_path / NAME
    environ = environment(tmp_path, OTEL_DISTRO_AUDIT_FILE=str(file), PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", WRITER, "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=tmp_path) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            threading.Thread(target=writer.stdout.read, daemon=True).start()
            for _ in range(15):
                status, said = verify(file)
                assert status == 0, said
        finally:
            writer.kill()


@pytest.mark.parametrize("half", [False, True], ids=["complete line", "incomplete line"])
def test_kill_between_line_and_head_is_recovered(tmp_path: Path, half: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """The next process accepts a complete line beyond the head and removes an incomplete one."""
    file = tmp_path / NAME
    write(file, 3)
    head = file.with_name(f"{NAME}.head")
    before = head.read_bytes()
    audit = AuditFile(str(file), Seal())
    audit.append({"body": "four"})
    head.write_bytes(before)
    if half:
        os.truncate(file, file.stat().st_size - 20)
    else:
        assert verify(file)[0] == 0

    link = AuditFile(str(file), Seal()).append({"body": "five"})
    assert link is not None
    assert link.sequence == (4 if half else 5)
    assert verify(file)[0] == 0
    assert ("an incomplete line" in capfd.readouterr().err) is half


def test_event_of_signal_handler_during_append_is_written_next(tmp_path: Path) -> None:
    """An event within another one, in the same thread, is written after it, without deadlock."""
    audit = AuditFile(str(tmp_path / NAME), Seal())
    inner: list[object] = []

    class Interrupting(dict[str, str]):
        def items(self):  # type: ignore[no-untyped-def]
            if not inner:
                inner.append(audit.append({"body": "inner"}))
            return super().items()

    link = audit.append(Interrupting(body="outer"))
    assert link is not None
    assert inner == [None]
    bodies = [json.loads(line)["body"] for line in (tmp_path / NAME).read_bytes().splitlines()]
    assert bodies[1:] == ["outer", "inner"]
    assert verify(tmp_path / NAME)[0] == 0


BUSY = """
import os, signal, threading
from otel_distro import audit
audit.event("a.first")
signals = []
def handler(*_):
    audit.event("a.signal", reason=str(len(signals)))
    signals.append(1)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
def work(name):
    for number in range(100):
        audit.event("a.thread", actor=name, reason=str(number))
threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
for thread in threads:
    thread.start()
for _ in range(20):
    if os.fork() == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in range(3):
            audit.event("a.child", actor=os.getpid(), reason=str(number))
        os._exit(0)
    os.wait()
for thread in threads:
    thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
audit.event("a.last")
print(len(signals))
"""


def test_threads_forks_and_signals_lose_no_event(tmp_path: Path) -> None:
    """Writing threads, forked children and signal handlers: no deadlock, all events are there."""
    environ = environment(tmp_path, OTEL_DISTRO_AUDIT_FILE=NAME, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-W", "ignore", "-c", BUSY]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    names = Counter(json.loads(line)["event_name"] for line in (tmp_path / NAME).read_bytes().splitlines())
    assert names == {
        "audit.chain.start": 1,
        "audit.a.first": 1,
        "audit.a.thread": 400,
        "audit.a.child": 60,
        "audit.a.signal": int(ended.stdout),
        "audit.a.last": 1,
    }
    assert verify(tmp_path / NAME)[0] == 0


FULL_DISK = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from otel_distro import audit
audit.event("order.paid", reason="0")
size = os.path.getsize("audit.jsonl")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
for number in range(1, 4):
    audit.event("order.paid", reason=str(number))
assert os.path.getsize("audit.jsonl") == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
audit.event("order.paid", reason="4")
"""


def test_events_wait_while_the_disk_is_full(tmp_path: Path) -> None:
    """No incomplete line stays; two messages on stderr; waiting events are written in order."""
    environ = environment(tmp_path, OTEL_DISTRO_AUDIT_FILE=NAME, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", FULL_DISK]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    records = [json.loads(line) for line in (tmp_path / NAME).read_bytes().splitlines()]
    assert [line["audit_reason"] for line in records[1:]] == ["0", "1", "2", "3", "4"]
    first, second = ended.stderr.splitlines()
    assert first.startswith("otel-distro: audit events cannot be written to ")
    assert second.endswith("is written again; 0 events are missing in it [OD621]")
    assert verify(tmp_path / NAME)[0] == 0
