"""Real processes that are killed, fork, race and become daemons."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.spool_processes import adopt_all, body, numbers, run, segments, spool, start, take

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

WRITER = """
first = int(sys.argv[1])
for number in range(first, first + 100000):
    spool.append("traces", body(number), 1)
    said(number)
"""


def _kill_after(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    """Kill a program once it has said so many lines; return all that it managed to say."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.readlines()
    process.communicate()
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


def test_killed_while_appending(tmp_path: Path) -> None:
    """Killed at any moment, again and again, a process loses nothing whose append had returned, doubles nothing."""
    draw = random.Random(4)
    promised: list[int] = []
    for turn in range(12):
        with start(WRITER, tmp_path, str(turn * 1_000_000)) as process:
            promised += [int(line) for line in _kill_after(process, draw.randrange(1, 400))]
    queue = spool(tmp_path)
    adopt_all(queue)
    got = take(queue)
    assert max(Counter(got).values()) == 1
    assert set(promised) <= set(got)
    # Besides what was promised there is at most what each was just about to say.
    assert len(got) - len(promised) <= 12
    assert sum(queue.dropped().values()) <= 12
    queue.close()
    assert segments(tmp_path) == []


def test_killed_while_sending(tmp_path: Path) -> None:
    """A sender killed at any moment loses nothing, and of what it sent at most the last batch comes twice."""
    queue = spool(tmp_path)
    for number in range(3000):
        queue.append("traces", body(number), 1)
    queue.close()
    script = """
adopt_all(spool)
while (batch := spool.lease("traces", 16 * 5)) is not None:
    said(batch.body.decode().replace("\\n", ","))
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
    got += take(last)
    assert set(got) == set(range(3000))
    assert len(got) - 3000 <= 8 * 5


def test_racing_adopters(tmp_path: Path) -> None:
    """However many processes look for orphans at once, each record goes to exactly one of them."""
    for number in range(0, 120, 4):
        queue = spool(tmp_path)
        for offset in range(4):
            queue.append("traces", body(number + offset), 1)
        queue.close()
    script = """
sys.stdin.readline()
adopt_all(spool)
for number in take(spool):
    said(number)
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


def test_living_owner_is_not_touched(tmp_path: Path) -> None:
    """What a living process holds nobody else takes; when it is gone, anybody does."""
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
        assert take(queue) == [0, 1, 2, 3, 4]
        process.communicate()


FORKER = """
for number in range(3):
    spool.append("traces", body(number), 1)
spool.before_fork()
child = os.fork()
if child == 0:
    spool.reset_after_fork()
    said(f"inherited={len(spool.pending())}")
    spool.append("traces", body(7), 1)
    said("child")
    os.read(0, 1)
    os._exit(0)
spool.after_fork_in_parent()
spool.append("traces", body(3), 1)
"""


def test_child_outlives_parent(tmp_path: Path) -> None:
    """A forked child starts empty and keeps nothing of its parent's locked: each one's are adopted at its end."""
    with start(FORKER + "said(child)\nos.read(0, 0)\nimport signal\nsignal.pause()\n", tmp_path) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().decode().strip() for _ in range(3)}
        assert {"inherited=0", "child"} < lines
        queue = spool(tmp_path)
        adopt_all(queue)
        assert queue.lease("traces", 1000) is None
        process.kill()
        process.wait()
        adopt_all(queue)
        assert take(queue) == [0, 1, 2, 3]
        assert process.stdin is not None
        process.stdin.close()
        process.stdout.read()
        adopt_all(queue)
        assert take(queue) == [7]


def test_exiting_child_leaves_the_parents_alone(tmp_path: Path) -> None:
    """A child that closes its spool at its end neither deletes nor sends what is its parent's."""
    script = FORKER.replace("os.read(0, 1)", "spool.close()") + "os.waitpid(child, 0)\nsaid(take(spool))\n"
    lines, _ = run(script, tmp_path)
    assert "".join(lines).endswith("[0,1,2,3]")
    queue = spool(tmp_path)
    adopt_all(queue)
    assert take(queue) == [7]


def test_fork_while_other_threads_append(tmp_path: Path) -> None:
    """Forking in the middle of other threads' appends loses and doubles nothing, and no child hangs."""
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
    assert sorted(take(queue, "logs")) == expected


def test_threads(tmp_path: Path) -> None:
    """A thread that appends and one for each signal that sends get along: everything once, in order, nothing left."""
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
said(all(got[signal] == list(range(10000)) for signal in signals))
said(spool.dropped())
spool.close()
"""
    lines, err = run(script, tmp_path)
    assert (lines, err) == (["True", "{}"], "")
    assert segments(tmp_path) == []


def test_threads_of_gevent(tmp_path: Path) -> None:
    """In a program that gevent has patched, a native thread and the main one use the spool without hanging."""
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
    got += take(spool)
done.acquire()
said(got == list(range(2000)))
"""
    assert run(script, tmp_path)[0] == ["True"]


def test_daemon_that_closes_all_descriptors(tmp_path: Path) -> None:
    """A program that closes every descriptor gets the numbers for its own files: nothing of ours is written there."""
    script = """
for number in range(3):
    spool.append("traces", body(number), 1)
os.closerange(3, 1000)
mine = [os.open(f"{sys.argv[1]}/mine{n}", os.O_RDWR | os.O_CREAT) for n in range(20)]
for number in range(3, 6):
    spool.append("traces", body(number), 1)
adopt_all(spool)
said(sorted(take(spool)))
said([os.fstat(fd).st_size for fd in mine] == [0] * 20)
spool.close()
said([os.fstat(fd).st_size for fd in mine] == [0] * 20)
"""
    lines, err = run(script, tmp_path, str(tmp_path))
    assert ("".join(lines), err) == ("[0,1,2,3,4,5]TrueTrue", "")
    assert segments(tmp_path) == []


def test_program_without_standard_streams(tmp_path: Path) -> None:
    """Started without the standard streams, a program that prints does not print into the spool."""
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
    assert take(queue) == [1, 2]
    assert queue.dropped() == {}


def test_handler_interrupts_an_append(tmp_path: Path) -> None:
    """A handler that appends while its own thread is inside the spool neither hangs nor loses anything."""
    script = """
import signal
signal.signal(signal.SIGALRM, lambda *_: spool.append("logs", body(5), 1))
with spool._lock:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.pause()
said(take(spool, "logs"))
"""
    assert run(script, tmp_path)[0] == ["[5]"]


def test_bodies_of_a_running_sibling_are_sent_by_it(tmp_path: Path) -> None:
    """Two processes share a folder: each sends its own, none is sent twice."""
    queue = spool(tmp_path)
    for number in range(10):
        queue.append("traces", body(number), 1)
    lines, _ = run(
        WRITER.replace("100000", "10") + "adopt_all(spool)\nsaid(take(spool))\nspool.close()", tmp_path, "50"
    )
    assert "".join(lines[10:]) == str(list(range(50, 60))).replace(" ", "")
    batch = queue.lease("traces", 1 << 20)
    assert batch is not None
    assert numbers(batch.body) == list(range(10))
    assert os.path.exists(segments(tmp_path)[0])
