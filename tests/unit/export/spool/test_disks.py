"""On full or read-only disks records wait in memory, then move to the disk; none is lost."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.spool_processes import adopt_all, drain, run, spool

if TYPE_CHECKING:
    from pathlib import Path

AWAIT = """
def await_disk():
    while not spool.durable:
        spool.pending()
"""


def _check(lines: list[str], err: str, home: Path, *, count: int) -> None:
    """Check that one line reports the failing disk, one its return, and that no record is lost."""
    assert lines == ["True", "False", "True", "{}"]
    printed = err.splitlines()
    assert len(printed) == 2, err
    assert "keeping telemetry in memory" in printed[0]
    assert "again" in printed[1]
    queue = spool(home)
    adopt_all(queue)
    assert drain(queue) == list(range(count))


def test_process_without_descriptors_keeps_records_in_memory(tmp_path: Path) -> None:
    """Without free descriptors records wait in memory; the next process finds all of them."""
    script = (
        AWAIT
        + """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
report(True)
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for number in range(100):
    spool.append("traces", body(number), 1)
report(spool.durable)
for fd in held:
    os.close(fd)
await_disk()
spool.append("traces", body(100), 1)
report(spool.durable)
report(spool.dropped())
spool.close()
"""
    )
    _check(*run(script, tmp_path), tmp_path, count=101)


def test_process_without_descriptors_still_writes_its_open_segment(tmp_path: Path) -> None:
    """An open segment accepts all records although no new file can be opened."""
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
report(spool.durable)
"""
    assert run(script, tmp_path) == (["True"], "")
    queue = spool(tmp_path)
    adopt_all(queue)
    assert drain(queue) == list(range(100))


def test_limit_on_file_sizes_makes_segments_smaller(tmp_path: Path) -> None:
    """Under ``ulimit -f`` segments are smaller; where none fits, records wait in memory."""
    script = (
        AWAIT
        + """
import resource
spool.append("traces", body(0), 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(1, 100):
    spool.append("traces", body(number), 1)
report(spool.durable)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for number in range(100, 200):
    spool.append("traces", body(number), 1)
report(spool.durable)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
await_disk()
report(spool.durable)
report(spool.dropped())
spool.close()
"""
    )
    _check(*run(script, tmp_path), tmp_path, count=200)


def _private_mounts() -> list[str]:
    """Return a command prefix that allows mounts, empty where the system forbids them."""
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
def test_full_disk_keeps_records_in_memory_until_there_is_room(tmp_path: Path) -> None:
    """On a full disk records wait in memory, acknowledgements hold, and all move later."""
    script = (
        AWAIT
        + """
import subprocess
mount = os.environ["XDG_STATE_HOME"]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], check=True)
for number in range(1000):
    spool.append("traces", body(number), 1)
report(spool.durable)
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
report(spool.durable)
batch = spool.lease("traces", 16 * 500)
got = batch.body
spool.acknowledge(batch)
os.unlink(f"{mount}/fill")
await_disk()
report(spool.durable)
report(spool.dropped())
spool.close()
from tests.support.spool_processes import spool as reopen, numbers
from pathlib import Path
later = reopen(Path(mount))
adopt_all(later)
assert numbers(got) + drain(later) == list(range(3000))
"""
    )
    lines, err = run(script, tmp_path, prefix=MOUNTS)
    _check(lines, err, tmp_path, count=0)


@needs_mounts
def test_disk_that_becomes_read_only_loses_no_record(tmp_path: Path) -> None:
    """A file system that becomes read-only, as one with errors does, stops no delivery."""
    script = (
        AWAIT
        + """
import subprocess
mount = os.environ["XDG_STATE_HOME"]
subprocess.run(["mount", "-t", "tmpfs", "none", mount], check=True)
report(True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "remount,ro", "none", mount], check=True)
for number in range(10):
    spool.append("traces", body(number), 1)
report(spool.durable)
assert drain(spool) == list(range(10))
spool.append("traces", body(10), 1)
subprocess.run(["mount", "-t", "tmpfs", "-o", "remount,rw", "none", mount], check=True)
await_disk()
assert drain(spool) == [10]
report(spool.durable)
report(spool.dropped())
"""
    )
    lines, err = run(script, tmp_path, prefix=MOUNTS)
    _check(lines, err, tmp_path, count=0)


@needs_mounts
def test_disk_that_is_always_read_only_is_reported_once(tmp_path: Path) -> None:
    """A program that never has a disk delivers from memory and reports that in one line."""
    script = """
import subprocess
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", os.environ["XDG_STATE_HOME"]], check=True)
for number in range(100):
    spool.append("traces", body(number), 1)
adopt_all(spool)
report(drain(spool) == list(range(100)))
spool.close()
"""
    lines, err = run(script, tmp_path, prefix=MOUNTS)
    assert lines == ["True"]
    assert len(err.splitlines()) == 1


def test_home_of_another_user_is_not_used_and_reported_once(tmp_path: Path) -> None:
    """A home of another user (``sudo`` keeps HOME) is not used; one line reports it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.chown(home, 12345, 12345)
    script = """
for number in range(10):
    spool.append("traces", body(number), 1)
report(spool.durable)
report(drain(spool) == list(range(10)))
"""
    lines, err = run(script, home)
    assert lines == ["False", "True"]
    assert len(err.splitlines()) == 1
    assert list(home.iterdir()) == []


def test_fsync_delivers_the_same_records(tmp_path: Path) -> None:
    """With fsync after each write the same records come out."""
    queue = spool(tmp_path, fsync="true")
    for number in range(5):
        queue.append("traces", b"%015d\n" % number, 1)
    assert drain(queue) == list(range(5))
