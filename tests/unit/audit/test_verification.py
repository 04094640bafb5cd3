"""Verification finds every change of an audit file, its key or its head."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.audit_chain import KEY, forged, verify, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "audit.jsonl"


@pytest.fixture(scope="module", params=[b"", KEY], ids=["without key", "with key"])
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with an intact chain of eight lines, and the options to verify it."""
    folder: Path = tmp_path_factory.mktemp("chain")
    write(folder / NAME, 8, request.param)
    (folder / "key").write_bytes(request.param)
    return folder, ["--key-file", str(folder / "key")] if request.param else []


@given(data=st.data())
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_change_of_any_byte_is_found(chain: tuple[Path, list[str]], data: st.DataObject) -> None:
    """A byte that is replaced, inserted or removed anywhere in the file or its head is found."""
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
    """The exit status is 1, and the first line of output names the damaged line."""
    folder, options = chain
    change, line = DAMAGES[damage]
    file = tmp_path / NAME
    file.write_bytes(b"".join(change((folder / NAME).read_bytes().splitlines(keepends=True))))
    (tmp_path / f"{NAME}.head").write_bytes((folder / f"{NAME}.head").read_bytes())

    status, said = verify(*options, file)
    assert status == 1, said
    assert said.startswith(f"{file}:{line}: this line " if line else f"{file}: lines are missing at its end"), said


def test_intact_chain_prints_lines_and_last_hash(chain: tuple[Path, list[str]]) -> None:
    """Exit status 0, number of lines, and the hash to compare with a copy elsewhere."""
    folder, options = chain
    last = json.loads((folder / NAME).read_bytes().splitlines()[-1])["hash"]
    assert verify(*options, folder / NAME) == (
        0,
        f"8 lines in 1 file, the last is number 8 with hash {last}: nothing was changed\n",
    )


def test_rewritten_chain_is_found_only_with_a_key(tmp_path: Path) -> None:
    """A chain and head that were rewritten completely are found with a key, not without."""
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


def test_verification_without_the_right_key_exits_2(chain: tuple[Path, list[str]], tmp_path: Path) -> None:
    """A chain with a key cannot be verified without it or with another: exit status 2."""
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
    """Without the head, lines missing at the end cannot be detected: exit status 1."""
    folder, options = chain
    (tmp_path / NAME).write_bytes((folder / NAME).read_bytes())
    status, said = verify(*options, tmp_path / NAME)
    assert status == 1
    assert said.startswith(f"{tmp_path / NAME}.head: is missing")
