"""``otel-distro redact`` shows what would be hidden and never the secret."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from otel_distro.redaction import MASK
from tests.support.redaction_corpus import CANARY, NEAR_MISSES, PEM, PEM_BODY, PLANTED

if TYPE_CHECKING:
    from pathlib import Path


def redact(*arguments: str, given: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command and return its result."""
    command = [sys.executable, "-m", "otel_distro", "redact", *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, env={**os.environ, **environ}, check=False, timeout=60
    )


def test_redact_dry_run_lists_positions_without_secrets(tmp_path: Path) -> None:
    """Each secret gives file, line, column and kind, and its line masked; a summary follows."""
    file = tmp_path / "app.log"
    file.write_text(f"all is well\nuser=bob password={CANARY} card 4111 1111 1111 1111\n{PEM}\nat https://u:pw@h/\n")
    done = redact("--dry-run", str(file))
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        f"{file}:2:19: key: hu… (13 characters)",
        f"{file}:2:38: card: 41… (19 characters)",
        f"    user=bob password={MASK} card {MASK}",
        f"{file}:3:1: private_key: --… ({len(PEM)} characters)",
        f"    {MASK}",
        f"{file}:6:12: userinfo: … (4 characters)",
        f"    at https://{MASK}@h/",
        "4 would be hidden in 3 lines: key 1, card 1, private_key 1, userinfo 1",
    ]


def test_redact_never_shows_the_corpus() -> None:
    """Neither output shows a planted secret; near misses give no line."""
    texts = [entry for entry in PLANTED if not entry.key]
    given = "\n".join(entry.value for entry in texts).encode()
    for arguments in (["--dry-run", "-"], ["-"]):
        done = redact(*arguments, given=given)
        assert done.returncode == 0
        shown = done.stdout.decode()
        assert [entry.secret for entry in texts if entry.secret in shown] == []
        assert PEM_BODY not in shown
    harmless = "\n".join(entry.value for entry in NEAR_MISSES if not entry.key).encode()
    assert redact("--dry-run", "-", given=harmless).stdout == b"nothing would be hidden\n"
    assert redact("-", given=harmless).stdout == harmless


def test_redact_uses_settings_and_reports_off() -> None:
    """The user's keys are used; with redaction off the command works and prints a note."""
    done = redact("-", given=b"room=17\n", OTEL_DISTRO_REDACT_KEYS="room", OTEL_DISTRO_REDACT="off")
    assert done.returncode == 0
    assert done.stdout.decode() == f"room={MASK}\n"
    assert b"OTEL_DISTRO_REDACT is off" in done.stderr


def test_redact_of_any_bytes_on_any_terminal_works() -> None:
    """Input that is not UTF-8 and output that is not Unicode do not stop it."""
    done = redact(
        "--dry-run",
        "-",
        given=b"\xff\xfe password=\xc3\xa9t\xc3\xa9 \x00\n",
        LC_ALL="C",
        PYTHONIOENCODING="ascii",
        PYTHONUTF8="0",
    )
    assert done.returncode == 0
    assert b"key" in done.stdout


def test_redact_of_missing_file_gives_one_line(tmp_path: Path) -> None:
    """A file that cannot be read gives one line and status 2; so does a call without a file."""
    done = redact("--dry-run", str(tmp_path / "none.log"))
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode() == f"otel-distro: redact: {tmp_path / 'none.log'}: No such file or directory [OD812]\n"
    assert redact("--dry-run").returncode == 2
