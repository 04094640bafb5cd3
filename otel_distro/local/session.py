"""Receiver and store of one run of ``otel-distro local``, from start to summary."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from otel_distro.local.receiver import Receiver
from otel_distro.local.render import render
from otel_distro.local.runs import Run, without_secrets
from otel_distro.local.store import Store, StoreError, default_path
from otel_distro.local.summary import collect

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from otel_distro.local.child import Outcome

_DRAIN_TIMEOUT_S: Final = 10.0


class Session:
    """Serves on ``listener`` from its construction on.

    A database file that cannot be used is reported once, and memory replaces it.
    """

    def __init__(
        self,
        listener: socket.socket,
        path: str | None,
        run_id: str,
        name: str,
        argv: Sequence[str],
        say: Callable[..., None],
    ) -> None:
        self._run = Run(run_id, name or " ".join(without_secrets(argv)), argv, time.time_ns())
        try:
            self._store = Store(Path(path) if path else default_path(os.environ), run_id=run_id)
        except StoreError as error:
            say(f"local: {error}; this run is kept in memory only", code="OD806")
            self._store = Store(None, run_id=run_id)
        self._store.submit(self._run.begin)
        self._receiver = Receiver(self._store, listener).start()

    def finish(self, outcome: Outcome, stream: TextIO) -> bool:
        """Store the remaining data and write the summary; return whether anything arrived."""
        self._receiver.stop()
        self._store.submit(lambda db: self._run.finish(db, outcome))
        drained = self._store.flush(_DRAIN_TIMEOUT_S)
        connection = self._store.connect()
        try:
            summary = collect(connection, self._run.id)
        finally:
            connection.close()
        # The store's own count includes losses that a full disk kept out of the table.
        summary.dropped = self._store.dropped()
        stream.write(render(summary, self._store.path, drained, os.environ, stream))
        stream.flush()
        self._store.close()
        return bool(summary.spans or summary.logs or summary.points)
