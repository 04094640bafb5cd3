"""The store: one SQLite file, one writer thread, any number of readers."""

from __future__ import annotations

import os
import queue
import sqlite3
import stat
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_distro.local.retention import prune, used_bytes
from otel_distro.local.rows import Rows
from otel_distro.local.tables import APPLICATION_ID, PAGE_BYTES, SCHEMA, VERSION

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

CAP_BYTES: Final = 512 * 1024 * 1024
MEMORY_CAP_BYTES: Final = 64 * 1024 * 1024
MAX_QUEUED_REQUESTS: Final = 256
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
_MAX_GROUP: Final = 32
_HARD: Final = 1.1

Task = Callable[[sqlite3.Connection], None]


class StoreError(Exception):
    """The file cannot be used; the message says which and why."""


@dataclass(frozen=True)
class _Batch:
    signal: str
    body: bytes


def default_path(environ: os._Environ[str] | dict[str, str]) -> Path:
    """Return the path of the store without ``--db``, by the XDG base directory specification.

    Raises:
        StoreError: The user has no home directory, as in containers.
    """
    base = environ.get("XDG_STATE_HOME", "")
    state = base if base.startswith("/") else os.path.expanduser("~/.local/state")
    if not state.startswith("/"):
        raise StoreError("no home directory for the store: set XDG_STATE_HOME or use --db")
    return Path(state) / "otel-distro" / "local" / f"telemetry-v{VERSION}.db"


class Store:
    """Stores OTLP requests, up to ``cap`` bytes; ``path`` None means in memory.

    Requests that :meth:`put` accepted are committed within about a second, or when :meth:`flush`
    has returned True. Any SQLite client can read the file at any time.

    Raises:
        StoreError: The file cannot be used.
    """

    def __init__(self, path: Path | None, *, run_id: str = "", cap: int | None = None) -> None:
        self.path = path
        self.run_id = run_id
        self.full = False
        self._cap = cap or (CAP_BYTES if path else MEMORY_CAP_BYTES)
        self._uri = f"{path.absolute().as_uri()}?mode=rw" if path else f"file:{uuid.uuid4()}?mode=memory&cache=shared"
        self._queue: queue.Queue[_Batch | Task | None] = queue.Queue()
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._requests = self._bytes = self._pending = 0
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._samples: dict[tuple[str, str], str] = {}
        try:
            if path:
                _make_private(path)
            self._db = self._open()
            self._rows = Rows(self._db, run_id)
            self._rows.reset_caches()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: {error}") from error
        self._writer = threading.Thread(target=self._write, name="otel-distro-store", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, signal: str, body: bytes) -> bool:
        """Queue a protobuf export request; return False if the queue is full and it must be resent.

        ``signal`` is ``traces``, ``logs`` or ``metrics``. A body that is not valid is counted as
        dropped.
        """
        size = len(body)
        with self._lock:
            if self._requests >= MAX_QUEUED_REQUESTS or (self._bytes and self._bytes + size > MAX_QUEUED_BYTES):
                return False
            self._requests += 1
            self._bytes += size
            self._pending += 1
        self._queue.put(_Batch(signal, body))
        return True

    def submit(self, task: Task) -> None:
        """Run ``task`` in its own transaction of the writer, after all queued requests."""
        with self._lock:
            self._pending += 1
        self._queue.put(task)

    def drop(self, signal: str, reason: str, count: int = 1, sample: str = "") -> None:
        """Count dropped items, with one example; :meth:`flush` writes them to table ``dropped``."""
        with self._lock:
            self._dropped[signal, reason] += count
            self._samples.setdefault((signal, reason), sample[:200])

    def dropped(self) -> list[tuple[str, str, int]]:
        """Return signal, reason and number of everything dropped since the start."""
        with self._lock:
            return sorted((*key, count) for key, count in self._dropped.items())

    def flush(self, timeout: float) -> bool:
        """Wait until all accepted data is committed; return False after ``timeout`` seconds."""
        if not self._writer.is_alive():
            return False
        self.submit(self._save_dropped)
        with self._settled:
            return self._settled.wait_for(lambda: self._pending == 0, timeout)

    def connect(self) -> sqlite3.Connection:
        """Return a new read-only connection. In memory it must be closed before the store is."""
        connection = sqlite3.connect(self._uri, uri=True, timeout=5, check_same_thread=False)
        connection.execute("pragma query_only=1")
        return connection

    def close(self, timeout: float = 10) -> None:
        """Commit the accepted data and close the file. Harmless if closed already."""
        if self._writer.is_alive():
            self.submit(self._save_dropped)
            self._queue.put(None)
            self._writer.join(timeout)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._uri, uri=True, timeout=5, check_same_thread=False)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        (tables,) = db.execute("select count(*) from sqlite_master").fetchone()
        if tables and _identity(db) != (APPLICATION_ID, VERSION):
            raise OSError("is a database of something else or of another version")
        # The order matters: after journal_mode, auto_vacuum would stay off without an error.
        db.execute(f"pragma page_size={PAGE_BYTES}")
        db.execute("pragma auto_vacuum=incremental")
        db.execute("pragma journal_mode=wal")
        db.execute("pragma synchronous=normal")
        db.execute("pragma wal_autocheckpoint=4000")
        db.execute(f"pragma journal_size_limit={MEMORY_CAP_BYTES}")
        db.execute(f"pragma max_page_count={int(self._cap * _HARD) // PAGE_BYTES}")
        if tables:
            # Writes a page, so that a full disk or a read-only file fails here and not during the
            # run.
            db.execute("begin immediate")
            db.execute(f"pragma user_version={VERSION}")
            db.commit()
            return
        mark = f"pragma application_id={APPLICATION_ID};pragma user_version={VERSION};"
        try:
            db.executescript(f"begin immediate;{SCHEMA};{mark}commit;")
        except sqlite3.OperationalError:
            # Another process created the tables in between, which is fine.
            db.rollback()
            if _identity(db) != (APPLICATION_ID, VERSION):
                raise

    def _write(self) -> None:
        try:
            prune(self._db, self._cap, self.run_id)
        except sqlite3.Error as error:
            self.drop("store", f"pruning failed: {error}")
        while True:
            group: list[_Batch | Task | None] = [self._queue.get()]
            while len(group) < _MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get())
            # Consecutive requests share a transaction; a task keeps its position among them.
            for _, members in groupby(group, key=lambda item: isinstance(item, _Batch)):
                self._handle(list(members))
            if None in group:
                self._db.close()
                return

    def _handle(self, members: list[_Batch | Task | None]) -> None:
        batches = [item for item in members if isinstance(item, _Batch)]
        self._commit(batches)
        for item in members:
            if item is not None and not isinstance(item, _Batch):
                self._run(item)
        with self._settled:
            self._requests -= len(batches)
            self._bytes -= sum(len(batch.body) for batch in batches)
            self._pending -= sum(item is not None for item in members)
            self._settled.notify_all()

    def _commit(self, batches: list[_Batch]) -> None:
        """Write ``batches`` in one transaction; if that fails, prune or write them one by one."""
        if not batches:
            return
        try:
            self._add(batches)
            if used_bytes(self._db) > self._cap:
                self._make_room()
        except Exception as error:
            self._rows.reset_caches()
            if "full" in str(error):
                self._make_room()
            for batch in batches:
                self._add_alone(batch)

    def _add(self, batches: list[_Batch]) -> None:
        with self._db:
            cuts = [(batch.signal, self._rows.add(batch.signal, batch.body)) for batch in batches]
        for signal, cut in cuts:
            for reason, count in cut.items():
                self.drop(signal, reason, count)
        self.full = False

    def _add_alone(self, batch: _Batch) -> None:
        """Write one request; a failure is counted and does not stop the others."""
        for last_try in (False, True):
            try:
                self._add([batch])
                return
            except Exception as error:
                self._rows.reset_caches()
                self.full = "full" in str(error)
                if last_try or "locked" not in str(error):
                    self.drop(batch.signal, f"not stored: {error}", sample=type(error).__name__)
                    return

    def _make_room(self) -> None:
        try:
            # Slightly below the limit, so that not every batch after it prunes again.
            runs = prune(self._db, int(self._cap * 0.95), self.run_id)
            self._rows.reset_caches()
            self.drop("store", "oldest data dropped to make room", sample=f"{runs} runs")
        except sqlite3.Error as error:
            self.drop("store", f"pruning failed: {error}")

    def _run(self, task: Task) -> None:
        try:
            with self._db:
                task(self._db)
        except Exception as error:
            self.drop("store", f"not stored: {error}")

    def _save_dropped(self, db: sqlite3.Connection) -> None:
        rows = [(self.run_id, *row, self._samples.get(row[:2], "")) for row in self.dropped()]
        db.executemany("insert or replace into dropped values (?, ?, ?, ?, ?)", rows)


def _identity(db: sqlite3.Connection) -> tuple[int, int]:
    (application,) = db.execute("pragma application_id").fetchone()
    (version,) = db.execute("pragma user_version").fetchone()
    return application, version


def _make_private(path: Path) -> None:
    """Create the folder with mode 0700 and the file with 0600, which SQLite's own files inherit."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError("is not a file of this user")
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
