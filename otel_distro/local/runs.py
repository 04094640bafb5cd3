"""One execution of a command under ``otel-distro local``, as a row of the store."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from otel_distro.local.child import Outcome

_HIDDEN = "***"
_SECRET_KEY = re.compile(r"(?i)pass|secret|token|credential|api[-_]?key|auth|private[-_]?key")
_URL_USER = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Run:
    """A started command. ``argv`` is as typed; only a version without secrets is stored."""

    id: str
    name: str
    argv: Sequence[str]
    start_ns: int
    cwd: str = field(default_factory=os.getcwd)
    pid: int = field(default_factory=os.getpid)

    @property
    def command(self) -> str:
        """The command line without secrets."""
        return " ".join(without_secrets(self.argv))

    def begin(self, db: sqlite3.Connection) -> None:
        """Add the row; ``first_span`` and ``first_log`` mark where the run's data begins."""
        db.execute(
            "insert into run (id, name, argv, cwd, host, pid, start_ns, first_span, first_log) values"
            " (?, ?, ?, ?, ?, ?, ?, (select ifnull(max(id), 0) from span), (select ifnull(max(id), 0) from log))",
            (self.id, self.name, self.command, self.cwd, socket.gethostname(), self.pid, self.start_ns),
        )

    def finish(self, db: sqlite3.Connection, outcome: Outcome) -> None:
        """Add how it ended."""
        db.execute(
            "update run set start_ns = ?, end_ns = ?, exit_code = ?, signal = ?, cpu_s = ?, max_rss = ? where id = ?",
            (
                outcome.start_ns,
                outcome.end_ns,
                outcome.exit_code,
                outcome.signal,
                outcome.cpu_s,
                outcome.max_rss,
                self.id,
            ),
        )


def without_secrets(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with the values hidden that look like secrets.

    Covers options, variables and URLs.
    """
    shown: list[str] = []
    hide_next = False
    for word in argv:
        key, equals, _ = word.partition("=")
        if hide_next and not word.startswith("-"):
            shown.append(_HIDDEN)
        elif equals and _SECRET_KEY.search(key):
            shown.append(f"{key}={_HIDDEN}")
        else:
            shown.append(_URL_USER.sub(f"{_HIDDEN}@", word))
        hide_next = not equals and word.startswith("-") and bool(_SECRET_KEY.search(word))
    return shown
