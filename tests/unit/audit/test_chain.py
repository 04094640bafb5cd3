"""The chain of the audit file continues over rotation, renaming, kills and other keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from otel_distro.audit.chain import AuditFile
from otel_distro.audit.seal import Seal
from tests.support.audit_chain import KEY, verify, write

if TYPE_CHECKING:
    from pathlib import Path

NAME = "audit.jsonl"


def test_chain_continues_over_rotated_files(tmp_path: Path) -> None:
    """Full files are rotated and kept; the chain is verified over all, and none may be missing."""
    file = tmp_path / NAME
    write(file, 40, size=2000)
    rotated = sorted(tmp_path.glob(f"{NAME}.0*"))
    assert len(rotated) > 3
    status, said = verify(file)
    assert status == 0, said
    assert f"lines in {len(rotated) + 1} files" in said
    assert verify(rotated[1])[0] == 0

    away = rotated[2].rename(tmp_path / "away")
    status, said = verify(file)
    assert (status, f"{rotated[3]}:1: this line continues line" in said) == (1, True)
    away.rename(rotated[2])
    lines = rotated[2].read_bytes().splitlines(keepends=True)
    rotated[2].write_bytes(b"".join(lines[:-1]))
    assert verify(file)[0] == 1


@pytest.mark.parametrize("head", ["old", "new"])
def test_rotation_interrupted_by_a_kill_is_completed(tmp_path: Path, head: str) -> None:
    """Killed before or after writing the head: the next process completes the rotation."""
    file, heads = tmp_path / NAME, tmp_path / f"{NAME}.head"
    write(file, 3)
    before = heads.read_bytes()
    AuditFile(str(file), Seal(), size=1).append({"body": "four"})
    (away,) = tmp_path.glob(f"{NAME}.0*")
    assert (file.read_bytes(), away.name) == (b"", f"{NAME}.000000000005")
    assert verify(file)[0] == 0
    file.unlink()
    assert verify(file)[0] == 0
    away.rename(file)
    if head == "old":
        heads.write_bytes(before)

    AuditFile(str(file), Seal()).append({"body": "six"})
    assert [json.loads(line)["body"] for line in file.read_bytes().splitlines()][1:] == ["six"]
    status, said = verify(file)
    assert (status, said[:18]) == (0, "7 lines in 2 files"), said

    away.unlink()
    file.unlink()
    write(tmp_path / "another.jsonl", 2)
    (tmp_path / "another.jsonl").rename(file)
    assert verify(file)[0] == 1


def test_chain_continues_after_the_file_was_renamed(tmp_path: Path) -> None:
    """After a rename, as by logrotate, the new file continues the last hash of the old one."""
    file = tmp_path / NAME
    audit = AuditFile(str(file), Seal())
    first = audit.append({"body": "one"})
    file.rename(tmp_path / "old.jsonl")
    second = audit.append({"body": "two"})
    assert first is not None
    assert second is not None
    assert second.sequence == first.sequence + 2
    assert json.loads(file.read_bytes().splitlines()[0])["previous"] == first.hash
    status, said = verify(file)
    assert (status, "continues line 2 of a file that is not here" in said) == (0, True)
    assert verify("--only", tmp_path / "old.jsonl", file)[0] == 0


@pytest.mark.parametrize(("old", "new"), [(b"", KEY), (KEY, b""), (KEY, b"second key")])
def test_file_sealed_with_another_key_is_not_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], old: bytes, new: bytes
) -> None:
    """The file cannot be verified, so it is not written to and its state is broken.

    Once it is moved away, the waiting lines begin a new chain.
    """
    file, head = tmp_path / NAME, tmp_path / f"{NAME}.head"
    write(file, 3, old)
    before = file.read_bytes(), head.read_bytes()
    audit = AuditFile(str(file), Seal(new))
    assert audit.append({"body": "one"}) is None
    assert audit.append({"body": "two"}) is None
    assert (file.read_bytes(), head.read_bytes()) == before
    assert (audit.state, list(audit.breaks)) == ("broken", ["it is sealed with another key, or with none"])
    assert len(capfd.readouterr().err.splitlines()) == 1

    file.unlink()
    head.unlink()
    audit.append({"body": "three"})
    assert [json.loads(line)["body"] for line in file.read_bytes().splitlines()][1:] == ["one", "two", "three"]
    assert audit.state == "intact"
    (tmp_path / "key").write_bytes(new)
    assert verify(*(("--key-file", tmp_path / "key") if new else ()), file)[0] == 0
