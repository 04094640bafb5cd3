"""Real processes that are killed, fork, race for orphans and become daemons."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.spool_processes import adopt_all, body, drain, numbers, run, segments, spool, start

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

WRITER = """
first = int(sys.argv[1])
for number in range(first, first + 100000):
    spool.append("traces", body(number), 1)
    report(number)
"""


def _kill_after(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    """Kill a program once it has printed so many lines; return all lines that it printed."""
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    printed += process.stdout.readlines()
    process.communicate()
    return [line.decode().strip() for line in printed if line.endswith(b"\n")]


def test_process_killed_while_appending_loses_no_returned_append(tmp_path: Path) -> None:
    """A killed process loses no record whose append had returned, and duplicates none."""
    draw = random.Random(4)
    promised: list[int] = []
    for turn in range(12):
        with start(WRITER, tmp_path, str(turn * 1_000_000)) as process:
            promised += [int(line) for line in _kill_after(process, draw.randrange(1, 400))]
    queue = spool(tmp_path)
    adopt_all(queue)
    got = drain(queue)
    assert max(Counter(got).values()) == 1
    assert set(promised) <= set(got)
    # Besides what was promised, each process may have appended one more before it could print that.
    assert len(got) - len(promised) <= 12
    assert sum(queue.dropped().values()) <= 12
    queue.close()
    assert segments(tmp_path) == []


def test_process_killed_while_sending_repeats_at_most_one_batch(tmp_path: Path) -> None:
    """A sender killed at any moment loses no record; at most its last batch is sent twice."""
    queue = spool(tmp_path)
    for number in range(3000):
        queue.append("traces", body(number), 1)
    queue.close()
    script = """
adopt_all(spool)
while (batch := spool.lease("traces", 16 * 5)) is not None:
    report(batch.body.decode().replace("\\n", ","))
    spool.acknowledge(batch)
"""
    draw = random.Random(5)
    got: list[int] = []
    for _ in range(8):
        with start(script, tmp_path) as process:
            for line in _kill_after(process, draw.randrange(1, 60)):
                got += [int(number) for number in line.split(",") if number]
    last = spool(tmp_path)
    adopt_all(last)
    got += drain(last)
    assert set(got) == set(range(3000))
    assert len(got) - 3000 <= 8 * 5


def test_racing_adopters_get_each_record_once(tmp_path: Path) -> None:
    """However many processes adopt orphans at once, each record goes to exactly one of them."""
    for number in range(0, 120, 4):
        queue = spool(tmp_path)
        for offset in range(4):
            queue.append("traces", body(number + offset), 1)
        queue.close()
    script = """
sys.stdin.readline()
adopt_all(spool)
for number in drain(spool):
    report(number)
"""
    racers = [start(script, tmp_path) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    got: list[int] = []
    for racer in racers:
        out, err = racer.communicate(timeout=60)
        assert (racer.returncode, err) == (0, b"")
        got += [int(line) for line in out.split()]
    assert sorted(got) == list(range(120))
    assert segments(tmp_path) == []


def test_segment_of_a_running_process_is_not_adopted(tmp_path: Path) -> None:
    """Segments of a running process are not adopted; once it has ended, any process does so."""
    with start(WRITER.replace("100000", "5") + "sys.stdin.readline()\n", tmp_path, "0") as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        queue = spool(tmp_path)
        adopt_all(queue)
        assert queue.lease("traces", 1000) is None
        process.kill()
        process.wait()
        adopt_all(queue)
        assert drain(queue) == [0, 1, 2, 3, 4]
        process.communicate()


FORKER = """
for number in range(3):
    spool.append("traces", body(number), 1)
spool.before_fork()
child = os.fork()
if child == 0:
    spool.reset_after_fork()
    report(f"inherited={len(spool.pending())}")
    spool.append("traces", body(7), 1)
    report("child")
    os.read(0, 1)
    os._exit(0)
spool.after_fork_in_parent()
spool.append("traces", body(3), 1)
"""


def test_forked_child_holds_no_lock_of_its_parent(tmp_path: Path) -> None:
    """A forked child starts empty; segments of parent and child are adopted at the end of each."""
    with start(FORKER + "report(child)\nos.read(0, 0)\nimport signal\nsignal.pause()\n", tmp_path) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().decode().strip() for _ in range(3)}
        assert {"inherited=0", "child"} < lines
        queue = spool(tmp_path)
        adopt_all(queue)
        assert queue.lease("traces", 1000) is None
        process.kill()
        process.wait()
        adopt_all(queue)
        assert drain(queue) == [0, 1, 2, 3]
        assert process.stdin is not None
        process.stdin.close()
        process.stdout.read()
        adopt_all(queue)
        assert drain(queue) == [7]


def test_child_that_closes_its_spool_leaves_the_parents_segments(tmp_path: Path) -> None:
    """A child that closes its spool neither deletes nor sends what is its parent's."""
    script = FORKER.replace("os.read(0, 1)", "spool.close()") + "os.waitpid(child, 0)\nreport(drain(spool))\n"
    lines, _ = run(script, tmp_path)
    assert "".join(lines).endswith("[0,1,2,3]")
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == [7]


def test_fork_during_appends_loses_and_duplicates_no_record(tmp_path: Path) -> None:
    """Forks during appends of other threads lose and duplicate no record, and no child hangs."""
    script = """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of what is tried here.
os.register_at_fork(before=spool.before_fork, after_in_parent=spool.after_fork_in_parent,
                    after_in_child=spool.reset_after_fork)
def write(first):
    for number in range(first, first + 500):
        spool.append("logs", body(number), 1)
threads = [threading.Thread(target=write, args=(1000 * n,)) for n in range(3)]
for thread in threads:
    thread.start()
for n in range(10, 30):
    child = os.fork()
    if child == 0:
        write(1000 * n)
        os._exit(0)
    os.waitpid(child, 0)
for thread in threads:
    thread.join()
spool.close()
"""
    _, err = run(script, tmp_path)
    assert err == ""
    queue = spool(tmp_path)
    adopt_all(queue)
    expected = [1000 * n + k for n in (0, 1, 2, *range(10, 30)) for k in range(500)]
    assert sorted(drain(queue, "logs")) == expected


def test_threads_that_append_and_send_get_each_record_once_in_order(tmp_path: Path) -> None:
    """A thread that appends and one sender for each signal: all once, in order, no file left."""
    script = """
import threading
signals = ("traces", "logs")
def write():
    for number in range(10000):
        for signal in signals:
            spool.append(signal, body(number) + b"z" * 984, 1)
writer = threading.Thread(target=write)
writer.start()
got = {signal: [] for signal in signals}
def send(signal):
    while writer.is_alive() or signal in spool.pending():
        spool.adopt()
        batch = spool.lease(signal, 50000)
        if batch is not None:
            got[signal] += [int(batch.body[at:at + 15]) for at in range(0, len(batch.body), 1000)]
            spool.acknowledge(batch)
senders = [threading.Thread(target=send, args=(signal,)) for signal in signals]
for thread in senders:
    thread.start()
for thread in senders:
    thread.join()
report(all(got[signal] == list(range(10000)) for signal in signals))
report(spool.dropped())
spool.close()
"""
    lines, err = run(script, tmp_path)
    assert (lines, err) == (["True", "{}"], "")
    assert segments(tmp_path) == []


def test_native_thread_and_gevent_share_the_spool_without_deadlock(tmp_path: Path) -> None:
    """In a program patched by gevent, a native thread and the main one use the spool at once."""
    script = """
from gevent import monkey
monkey.patch_all()
from otel_distro._runtime import threads
done = threads.allocate_lock()
done.acquire()
def write():
    for number in range(2000):
        spool.append("traces", body(number), 1)
    done.release()
threads.start_new_thread(write, ())
got = []
while len(got) < 2000:
    got += drain(spool)
done.acquire()
report(got == list(range(2000)))
"""
    assert run(script, tmp_path)[0] == ["True"]


def test_daemon_that_closes_all_descriptors_is_not_written_into(tmp_path: Path) -> None:
    """No telemetry is written into files that reuse the descriptor numbers of segments."""
    script = """
for number in range(3):
    spool.append("traces", body(number), 1)
os.closerange(3, 1000)
mine = [os.open(f"{sys.argv[1]}/mine{n}", os.O_RDWR | os.O_CREAT) for n in range(20)]
for number in range(3, 6):
    spool.append("traces", body(number), 1)
adopt_all(spool)
report(sorted(drain(spool)))
report([os.fstat(fd).st_size for fd in mine] == [0] * 20)
spool.close()
report([os.fstat(fd).st_size for fd in mine] == [0] * 20)
"""
    lines, err = run(script, tmp_path, str(tmp_path))
    assert ("".join(lines), err) == ("[0,1,2,3,4,5]TrueTrue", "")
    assert segments(tmp_path) == []


def test_program_without_standard_streams_does_not_print_into_the_spool(tmp_path: Path) -> None:
    """Started without standard streams, a program that prints does not print into a segment."""
    script = """
for n in (0, 1, 2):
    os.close(n)
spool.append("traces", body(1), 1)
for n in (1, 2):
    try:
        os.write(n, b"printed")
    except OSError:
        pass
spool.append("traces", body(2), 1)
"""
    run(script, tmp_path)
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == [1, 2]
    assert queue.dropped() == {}


def test_signal_handler_that_interrupts_an_append_neither_hangs_nor_loses(tmp_path: Path) -> None:
    """A handler appends while its own thread holds the spool's lock: no deadlock and no loss."""
    script = """
import signal
signal.signal(signal.SIGALRM, lambda *_: spool.append("logs", body(5), 1))
with spool._lock:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.pause()
report(drain(spool, "logs"))
"""
    assert run(script, tmp_path)[0] == ["[5]"]


def test_two_processes_in_a_folder_send_their_own_records(tmp_path: Path) -> None:
    """Two processes share a folder: each sends its own records, and none is sent twice."""
    queue = spool(tmp_path)
    for number in range(10):
        queue.append("traces", body(number), 1)
    lines, _ = run(
        WRITER.replace("100000", "10") + "adopt_all(spool)\nreport(drain(spool))\nspool.close()", tmp_path, "50"
    )
    assert "".join(lines[10:]) == str(list(range(50, 60))).replace(" ", "")
    batch = queue.lease("traces", 1 << 20)
    assert batch is not None
    assert numbers(batch.body) == list(range(10))
    assert os.path.exists(segments(tmp_path)[0])
