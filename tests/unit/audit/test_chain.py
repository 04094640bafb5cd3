"""The audit file: whatever is changed in it is found, and the chain goes on from file to file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_distro.audit.chain import AuditFile
from otel_distro.audit.seal import Seal
from tests.support.audit_chain import KEY, forged, verify, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "audit.jsonl"


@pytest.fixture(scope="module", params=[b"", KEY], ids=["without key", "with key"])
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with an intact chain of eight lines, and the options that verify it."""
    folder: Path = tmp_path_factory.mktemp("chain")
    write(folder / NAME, 8, request.param)
    (folder / "key").write_bytes(request.param)
    return folder, ["--key-file", str(folder / "key")] if request.param else []


@given(data=st.data())
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_byte_is_found(chain: tuple[Path, list[str]], data: st.DataObject) -> None:
    """One byte put in the place of another, inserted or removed, anywhere in the file or its head: never goes unseen."""
    folder, options = chain
    whole = {name: (folder / name).read_bytes() for name in (NAME, f"{NAME}.head")}
    name = data.draw(st.sampled_from(sorted(whole)))
    at = data.draw(st.integers(0, len(whole[name]) - 1))
    kind = data.draw(st.sampled_from(["replace", "insert", "remove"]))
    byte = data.draw(st.integers(0, 255).filter(lambda value: kind != "replace" or value != whole[name][at]))
    changed = whole[name][:at] + (b"" if kind == "remove" else bytes([byte])) + whole[name][at + (kind != "insert") :]
    if changed == whole[name]:
        return
    try:
        (folder / name).write_bytes(changed)
        status, said = verify(*options, folder / NAME)
        assert status in (1, 2), said
    finally:
        (folder / name).write_bytes(whole[name])
    assert verify(*options, folder / NAME)[0] == 0


DAMAGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "edited": (lambda lines: [*lines[:3], lines[3].replace(b"event", b"avent"), *lines[4:]], 4),
    "removed": (lambda lines: lines[:3] + lines[4:], 4),
    "first removed": (lambda lines: lines[1:], 1),
    "last removed": (lambda lines: lines[:-1], 0),
    "all removed but the first": (lambda lines: lines[:1], 0),
    "repeated": (lambda lines: [*lines[:4], lines[3], *lines[4:]], 5),
    "reordered": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], 4),
    "cut": (lambda lines: [*lines[:3], lines[3][:40] + b"\n", *lines[4:]], 4),
    "last cut": (lambda lines: [*lines[:-1], lines[-1][:40]], 8),
    "without last end": (lambda lines: [*lines[:-1], lines[-1][:-1]], 8),
    "inserted": (lambda lines: [*lines[:3], forged(lines[:4])[3].replace(b"event 4", b"event 9"), *lines[3:]], 4),
    "inserted with its hash": (lambda lines: [*lines[:3], forged(lines[1:5])[3], *lines[3:]], 4),
    "empty line": (lambda lines: [*lines[:3], b"\n", *lines[3:]], 4),
    "blank at the end of a line": (lambda lines: [*lines[:3], lines[3][:-1] + b" \n", *lines[4:]], 4),
    "rubbish at the end": (lambda lines: [*lines, b"{}\n"], 9),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_at_its_line(chain: tuple[Path, list[str]], tmp_path: Path, damage: str) -> None:
    """Every kind of damage: exit status 1 and the line it is at, or the file where lines are missing at its end."""
    folder, options = chain
    change, line = DAMAGES[damage]
    file = tmp_path / NAME
    file.write_bytes(b"".join(change((folder / NAME).read_bytes().splitlines(keepends=True))))
    (tmp_path / f"{NAME}.head").write_bytes((folder / f"{NAME}.head").read_bytes())

    status, said = verify(*options, file)
    assert status == 1, said
    assert said.startswith(f"{file}:{line}: this line " if line else f"{file}: lines are missing at its end"), said


def test_intact_chain(chain: tuple[Path, list[str]]) -> None:
    """Nothing was changed: exit status 0, how many lines, and the hash that a copy elsewhere can be compared with."""
    folder, options = chain
    last = json.loads((folder / NAME).read_bytes().splitlines()[-1])["hash"]
    assert verify(*options, folder / NAME) == (
        0,
        f"8 lines in 1 file, the last is number 8 with hash {last}: nothing was changed\n",
    )


def test_forger_without_the_key(tmp_path: Path) -> None:
    """Who rewrites the whole chain and its head is found where there is a key, and is not where there is none."""
    for key in (b"", KEY):
        file = tmp_path / f"with{len(key)}.jsonl"
        write(file, 8, key)
        whole = file.read_bytes().splitlines(keepends=True)
        rewritten = forged([line.replace(b"event 5", b"nothing").replace(b"hmac-", b"") for line in whole[:-1]])
        file.unlink()
        file.with_name(f"{file.name}.head").unlink()
        write(file, 7)
        assert len(file.read_bytes().splitlines()) == 7
        if not key:
            assert verify(file)[0] == 0
            continue
        (tmp_path / "key").write_bytes(KEY)
        status, said = verify("--key-file", tmp_path / "key", file)
        assert (status, "is not sealed with a key, and one was given" in said) == (1, True)
        file.write_bytes(b"".join(rewritten))
        assert verify("--key-file", tmp_path / "key", file)[0] == 1


def test_key_is_needed_and_another_is_none(chain: tuple[Path, list[str]], tmp_path: Path) -> None:
    """A chain with a key cannot be judged without it, nor with another one: exit status 2."""
    folder, options = chain
    (tmp_path / "other").write_bytes(b"another key")
    status, said = verify("--key-file", tmp_path / "other", folder / NAME)
    if options:
        assert (status, "which was not given" in said) == (2, True)
        assert verify(folder / NAME)[0] == 2
    else:
        assert (status, "not sealed with a key" in said) == (1, True)
    assert verify(tmp_path / "nowhere.jsonl")[0] == 2


def test_missing_head_is_found(chain: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Without the head nobody can say whether lines are missing at the end: exit status 1."""
    folder, options = chain
    (tmp_path / NAME).write_bytes((folder / NAME).read_bytes())
    status, said = verify(*options, tmp_path / NAME)
    assert status == 1
    assert said.startswith(f"{tmp_path / NAME}.head: is missing")


def test_chain_goes_on_in_the_next_file(tmp_path: Path) -> None:
    """Files that are full are put away and kept; the whole chain is verified over all of them, none can be taken out."""
    file = tmp_path / NAME
    write(file, 40, size=2000)
    put_away = sorted(tmp_path.glob(f"{NAME}.0*"))
    assert len(put_away) > 3
    status, said = verify(file)
    assert status == 0, said
    assert f"lines in {len(put_away) + 1} files" in said
    assert verify(put_away[1])[0] == 0

    away = put_away[2].rename(tmp_path / "away")
    status, said = verify(file)
    assert (status, f"{put_away[3]}:1: this line goes on from line" in said) == (1, True)
    away.rename(put_away[2])
    lines = put_away[2].read_bytes().splitlines(keepends=True)
    put_away[2].write_bytes(b"".join(lines[:-1]))
    assert verify(file)[0] == 1


@pytest.mark.parametrize("head", ["old", "new"])
def test_process_killed_while_it_puts_a_file_away(tmp_path: Path, head: str) -> None:
    """Before or after the head, and before the next file is there: the next process finishes it, and the chain holds."""
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


def test_file_that_somebody_moves_away(tmp_path: Path) -> None:
    """After a rename, as logrotate does it, the new file goes on from the last hash of the old one."""
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
    assert (status, "goes on from line 2 of a file that is not here" in said) == (0, True)
    assert verify("--only", tmp_path / "old.jsonl", file)[0] == 0


@pytest.mark.parametrize(("old", "new"), [(b"", KEY), (KEY, b""), (KEY, b"second key")])
def test_file_of_another_key_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], old: bytes, new: bytes
) -> None:
    """Nothing proves a file that is sealed otherwise, perhaps by a forger: it is not written to, and counts as broken.

    Once it is moved away, the lines that waited begin a new chain.
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
