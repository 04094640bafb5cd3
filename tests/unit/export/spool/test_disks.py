"""Disks that are full, read-only or not to be opened: memory for the while, then the disk again, and nothing lost."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.spool_processes import adopt_all, run, spool, take

if TYPE_CHECKING:
    from pathlib import Path

AWAIT = """
def await_disk():
    while not spool.durable:
        spool.pending()
"""


def _check(lines: list[str], err: str, home: Path, *, count: int) -> None:
    """Check that the program said that it was off the disk and on it again, in one line each, and lost nothing."""
    assert lines == ["True", "False", "True", "{}"]
    said = err.splitlines()
    assert len(said) == 2, err
    assert "keeping telemetry in memory" in said[0]
    assert "again" in said[1]
    queue = spool(home)
    adopt_all(queue)
    assert take(queue) == list(range(count))


def test_no_descriptors_left(tmp_path: Path) -> None:
    """While the program holds every descriptor, telemetry waits in memory; the next process finds all of it."""
    script = (
        AWAIT
        + """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
said(True)
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for number in range(100):
    spool.append("traces", body(number), 1)
said(spool.durable)
for fd in held:
    os.close(fd)
await_disk()
spool.append("traces", body(100), 1)
said(spool.durable)
said(spool.dropped())
spool.close()
"""
    )
    _check(*run(script, tmp_path), tmp_path, count=101)


def test_open_segment_outlives_the_descriptors(tmp_path: Path) -> None:
    """A segment that is open already takes everything although no new file could be opened."""
    script = """
import resource
spool.append("traces", body(0), 1)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    pass
for number in range(1, 100):
    spool.append("traces", body(number), 1)
said(spool.durable)
"""
    assert run(script, tmp_path) == (["True"], "")
    queue = spool(tmp_path)
    adopt_all(queue)
    assert take(queue) == list(range(100))


def test_limit_on_file_sizes(tmp_path: Path) -> None:
    """Below a limit on the size of files (``ulimit -f``) segments are smaller; where nothing fits, memory helps out."""
    script = (
        AWAIT
        + """
import resource
spool.append("traces", body(0), 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(1, 100):
    spool.append("traces", body(number), 1)
said(spool.durable)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for number in range(100, 200):
    spool.append("traces", body(number), 1)
said(spool.durable)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
await_disk()
said(spool.durable)
said(spool.dropped())
spool.close()
"""
    )
    _check(*run(script, tmp_path), tmp_path, count=200)


def _private_mounts() -> list[str]:
    """Return a command in front of which a program may mount what it likes, where the system lets us."""
    for command in (["unshare", "-m"], ["unshare", "-Urm"]):
        try:
            done = subprocess.run(
                [*command, "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"], capture_output=True, check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            return command
    return []


MOUNTS = _private_mounts()
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="neither root nor user namespaces: no file system can be mounted")


@needs_mounts
def test_full_disk(tmp_path: Path) -> None:
    """On a full disk telemetry waits in memory, what is acknowledged stays so, and it moves when there is room."""
    script = (
        AWAIT
        + """
import subprocess
mount = os.environ["XDG_STATE_HOME"]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], check=True)
for number in range(1000):
    spool.append("traces", body(number), 1)
said(spool.durable)
with open(f"{mount}/fill", "wb", buffering=0) as fill:
    try:
        while True:
            fill.write(bytes(4096))
    except OSError:
        pass
    try:
        while True:
            fill.write(bytes(1))
    except OSError:
        pass
for number in range(1000, 3000):
    spool.append("traces", body(number), 1)
said(spool.durable)
batch = spool.lease("traces", 16 * 500)
got = batch.body
spool.acknowledge(batch)
os.unlink(f"{mount}/fill")
await_disk()
said(spool.durable)
said(spool.dropped())
spool.close()
from tests.support.spool_processes import spool as reopen, numbers
from pathlib import Path
later = reopen(Path(mount))
adopt_all(later)
assert numbers(got) + take(later) == list(range(3000))
"""
    )
    lines, err = run(script, tmp_path, prefix=MOUNTS)
    _check(lines, err, tmp_path, count=0)


@needs_mounts
def test_read_only_disk(tmp_path: Path) -> None:
    """A file system that becomes read-only, as one with errors does, costs nothing and stops nobody."""
    script = (
        AWAIT
        + """
import subprocess
mount = os.environ["XDG_STATE_HOME"]
subprocess.run(["mount", "-t", "tmpfs", "none", mount], check=True)
said(True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "remount,ro", "none", mount], check=True)
for number in range(10):
    spool.append("traces", body(number), 1)
said(spool.durable)
assert take(spool) == list(range(10))
spool.append("traces", body(10), 1)
subprocess.run(["mount", "-t", "tmpfs", "-o", "remount,rw", "none", mount], check=True)
await_disk()
assert take(spool) == [10]
said(spool.durable)
said(spool.dropped())
"""
    )
    lines, err = run(script, tmp_path, prefix=MOUNTS)
    _check(lines, err, tmp_path, count=0)


@needs_mounts
def test_always_read_only(tmp_path: Path) -> None:
    """A program that never has a disk delivers from memory and says so in one line."""
    script = """
import subprocess
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", os.environ["XDG_STATE_HOME"]], check=True)
for number in range(100):
    spool.append("traces", body(number), 1)
adopt_all(spool)
said(take(spool) == list(range(100)))
spool.close()
"""
    lines, err = run(script, tmp_path, prefix=MOUNTS)
    assert lines == ["True"]
    assert len(err.splitlines()) == 1


def test_home_of_somebody_else(tmp_path: Path) -> None:
    """Where the user may not write, or should not (``sudo`` keeps HOME), it works from memory and says so once."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.chown(home, 12345, 12345)
    script = """
for number in range(10):
    spool.append("traces", body(number), 1)
said(spool.durable)
said(take(spool) == list(range(10)))
"""
    lines, err = run(script, home)
    assert lines == ["False", "True"]
    assert len(err.splitlines()) == 1
    assert list(home.iterdir()) == []


def test_synchronous_writes(tmp_path: Path) -> None:
    """With writes through to the disk everything is the same."""
    queue = spool(tmp_path, fsync="true")
    for number in range(5):
        queue.append("traces", b"%015d\n" % number, 1)
    assert take(queue) == list(range(5))
