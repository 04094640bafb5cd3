"""Keeps the store within its limits: age, number of runs, bytes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

MAX_AGE_NS = 72 * 3600 * 10**9
MAX_RUNS = 50
_SLICE = 2000


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how much of the file holds data.

    ``dbstat`` would be exact, but blocks the writer while it runs.
    """
    (size,) = db.execute(
        "select (page_count - freelist_count) * page_size"
        " from pragma_page_count, pragma_freelist_count, pragma_page_size"
    ).fetchone()
    return int(size)


def prune(db: sqlite3.Connection, cap: int, keep: str) -> int:
    """Drop runs that are too old or too many; return the number of runs dropped.

    Run ``keep``, runs that have not ended and pinned runs stay. Runs are dropped whole, oldest
    first. If that is not enough, the oldest remaining data is dropped, in whole traces.
    """
    now = time.time_ns()
    runs = db.execute(
        "select id, start_ns, end_ns, pid from run where not pinned and id <> ? order by start_ns desc", (keep,)
    ).fetchall()
    ended = [(run, start) for run, start, end, pid in runs if end is not None or not _alive(pid)]
    doomed = [run for number, (run, start) in enumerate(ended, 2) if number > MAX_RUNS or now - start > MAX_AGE_NS]
    rest = [run for run, _ in ended if run not in doomed]
    for run in doomed:
        _drop_run(db, run)
    dropped = len(doomed)
    while used_bytes(db) > cap and rest:
        _drop_run(db, rest.pop())
        dropped += 1
    while used_bytes(db) > cap and _drop_oldest(db):
        pass
    # `execute` would free a single page.
    db.executescript("pragma incremental_vacuum")
    return dropped


def _alive(pid: int | None) -> bool:
    """Return whether the wrapper of a run is alive.

    A reused pid only delays the pruning of the run.
    """
    try:
        os.kill(pid or 0, 0)
    except OSError:
        return False
    return bool(pid)


def _drop_run(db: sqlite3.Connection, run_id: str) -> None:
    with db:
        rids = "(select rid from resource where run_id = ?)"
        db.execute(f"delete from point where sid in (select sid from series where rid in {rids})", (run_id,))
        for table in ("span", "log", "exc", "series"):
            db.execute(f"delete from {table} where rid in {rids}", (run_id,))
        db.execute("delete from resource where run_id = ?", (run_id,))
        db.execute("delete from dropped where run_id = ?", (run_id,))
        db.execute("delete from exc_stack where fp not in (select fp from exc)")
        db.execute("delete from run where id = ?", (run_id,))


def _drop_oldest(db: sqlite3.Connection) -> bool:
    """Delete the oldest slice of each table; return whether there was any."""
    with db:
        traces = "select trace_id from (select trace_id from span order by id limit ?)"
        deleted = db.execute(f"delete from span where trace_id in ({traces})", (_SLICE,)).rowcount
        for table in ("log", "exc"):
            oldest = f"select id from {table} order by id limit ?"
            deleted += db.execute(f"delete from {table} where id in ({oldest})", (_SLICE,)).rowcount
        oldest = "select min(ts) + (max(ts) - min(ts)) / 20 from point"
        deleted += db.execute(f"delete from point where ts <= ({oldest})").rowcount
        db.execute("delete from exc_stack where fp not in (select fp from exc)")
    return deleted > 0
