"""The audit file and its writers: processes, threads, forks, signals and kills at once, and disks that are full."""

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


def test_processes_append_to_one_chain_and_one_is_killed(tmp_path: Path) -> None:
    """Four processes, one of which forks, one of which is killed at work: every event that returned is there, once."""
    file = tmp_path / NAME
    environ = environment(
        tmp_path, OTEL_DISTRO_AUDIT_FILE=str(file), OTEL_DISTRO_AUDIT_FILE_MAX_BYTES="20000", PYTHONPATH=str(ROOT)
    )

    def start(program: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=tmp_path)

    finite = [start(WRITER, "100"), start(WRITER, "100"), start(PARENT)]
    killed = start(WRITER, "1000000")
    said: list[bytes] = []
    assert killed.stdout is not None
    while len(said) < 60:
        said.append(killed.stdout.readline())
    killed.send_signal(signal.SIGKILL)
    said += killed.stdout.read().splitlines(keepends=True)
    killed.wait()
    killed.stdout.close()
    for process in finite:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        said += output.splitlines(keepends=True)

    told = [json.loads(line) for part in sorted(tmp_path.glob(f"{NAME}.0*")) for line in part.read_bytes().splitlines()]
    told += [json.loads(line) for line in file.read_bytes().splitlines()]
    written = [(line["audit_actor"], line["audit_reason"]) for line in told if "audit_actor" in line]
    promised = [tuple(line.decode().split()) for line in said if line.endswith(b"\n")]
    assert len(written) == len(set(written))
    assert set(promised) <= set(written)
    # The killed one may have written one event more than it could tell of.
    assert len(written) - len(promised) in (0, 1)
    assert len([line for line in told if line["event_name"] == "audit.parent.before"]) == 1
    status, verdict = verify(file)
    assert status == 0, verdict


def test_file_is_verified_while_it_is_written(tmp_path: Path) -> None:
    """Whoever verifies sees a whole chain, however often, while another process writes as fast as it can."""
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


@pytest.mark.parametrize("half", [False, True], ids=["a whole line", "half a line"])
def test_process_killed_between_line_and_head(tmp_path: Path, half: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """What the head does not know yet is taken up by the next process; half a line, which nobody was promised, goes."""
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
    assert ("half a line" in capfd.readouterr().err) is half


def test_signal_handler_in_the_middle_of_an_event(tmp_path: Path) -> None:
    """An event that comes in the middle of another one, in the same thread, is written after it and nothing hangs."""
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
def work(who):
    for number in range(100):
        audit.event("a.thread", actor=who, reason=str(number))
threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
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


def test_threads_forks_and_signals_at_once(tmp_path: Path) -> None:
    """Threads that all write, children forked in the middle of it and events of signal handlers: none hangs, all are there."""
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


def test_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """No half line stays, one line says so and one that it is over, and the events that waited are written in order."""
    environ = environment(tmp_path, OTEL_DISTRO_AUDIT_FILE=NAME, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", FULL_DISK]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    told = [json.loads(line) for line in (tmp_path / NAME).read_bytes().splitlines()]
    assert [line["audit_reason"] for line in told[1:]] == ["0", "1", "2", "3", "4"]
    first, second = ended.stderr.splitlines()
    assert first.startswith("otel-distro: audit events cannot be written to ")
    assert second.endswith("is written again; 0 events are missing in it")
    assert verify(tmp_path / NAME)[0] == 0
