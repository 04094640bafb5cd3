"""Audit files for tests: written by the package, and verified by the command line."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from otel_distro.audit.chain import AuditFile
from otel_distro.audit.seal import Link, Seal
from otel_distro.cli import main

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"a secret key"


def write(path: Path, lines: int, key: bytes = b"", size: int = 0) -> None:
    """Write a chain of ``lines`` lines, including the first line of the file."""
    file = AuditFile(str(path), Seal(key), size=size)
    for number in range(2, lines + 1):
        assert file.append({"body": f"event {number}", "actor": "Zoë"}) is not None


def verify(*words: str | Path) -> tuple[int, str]:
    """Run ``otel-distro audit verify``; return its exit status and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main(["audit", "verify", *map(str, words)])
    return status, printed.getvalue()


def forged(lines: list[bytes], key: bytes = b"") -> list[bytes]:
    """Return the lines renumbered and sealed again, as a forger without the key can do."""
    import json

    seal, link, result = Seal(key), Link(0, "0" * 64), []
    for line in lines:
        fields = json.loads(line)
        chain = fields.pop("chain", "")
        for own in ("sequence", "previous", "hash"):
            del fields[own]
        text, link = seal.seal(link, fields, chain)
        result.append(text)
    return result
