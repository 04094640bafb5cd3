"""The store: deduplication, limits, and files that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_distro.local import retention, rows
from otel_distro.local.attributes import LIMITS
from otel_distro.local.store import Store, StoreError, default_path
from tests.support.otlp import START_NS, Log, gauge, logs, resource, span, traces

if TYPE_CHECKING:
    from tests.local.conftest import Query

ERROR = {"exception.type": "ValueError", "exception.message": "bad row", "exception.stacktrace": "ValueError: bad row"}


def test_batch_delivered_again_adds_no_row(store: Store, query: Query) -> None:
    """A repeated request, whole or together with others, adds no row."""
    one = traces([span(1, error=ERROR)]), logs([Log("a", attributes=ERROR)]), gauge("g", [(START_NS, 1.0, {})])
    more = traces([span(1, error=ERROR), span(2)]), logs([Log("a", attributes=ERROR), Log("b")])
    tables = "select (select count(*) from span), (select count(*) from log), (select count(*) from point), n"
    for _ in range(3):
        for signal, body in zip(("traces", "logs", "metrics"), one, strict=True):
            assert store.put(signal, body)
    assert query(f"{tables} from (select count(*) n from exc)") == [(1, 1, 1, 2)]
    for signal, body in zip(("traces", "logs"), more, strict=True):
        assert store.put(signal, body)
    assert query(f"{tables} from (select count(*) n from exc)") == [(2, 2, 1, 2)]


def test_body_of_joined_requests_is_stored_once(store: Store, query: Query) -> None:
    """A sender may concatenate requests; the same chunk twice in one body is stored once."""
    chunk = logs([Log("a"), Log("a")])
    assert store.put("logs", chunk + chunk)
    assert query("select count(*) from log") == [(2,)]


def test_equal_records_of_one_batch_are_all_kept(store: Store, query: Query) -> None:
    """Two records with equal timestamps are both kept; delivered again they stay two."""
    for _ in range(2):
        assert store.put("logs", logs([Log("tick"), Log("tick"), Log("tock")]))
    assert query("select body, count(*) from log group by body order by body") == [("tick", 2), ("tock", 1)]


def test_record_of_two_processes_is_stored_twice(store: Store, query: Query) -> None:
    """The resource is part of a record's identity."""
    for instance in ("a", "b"):
        assert store.put("logs", logs([Log("start")], resource({"service.instance.id": instance})))
    assert query("select instance from log join resource using (rid) order by 1") == [("a",), ("b",)]


def test_error_on_span_and_log_is_stored_once(store: Store, query: Query) -> None:
    """Errors join on trace, span and class; the log record may lack the module of the type."""
    qualified = {**ERROR, "exception.type": "shop.errors.OutOfStock"}
    assert store.put("traces", traces([span(5, error=qualified)]))
    assert store.put("logs", logs([Log("failed", trace=5, span=5, attributes={"exception.type": "OutOfStock"})]))
    assert query("select type, hex(span_id) from exc") == [("shop.errors.OutOfStock", "0000000000000005")]


def test_record_of_an_exception_that_is_no_error_is_a_log_line_only(store: Store, query: Query) -> None:
    """Django logs a refused request with its exception, for example."""
    assert store.put("logs", logs([Log("Forbidden", attributes={**ERROR, "python.exception.answer": True})]))
    assert query("select body from log") == [("Forbidden",)]
    assert query("select type from exc") == []


def test_extreme_data_is_stored_or_counted(store: Store, query: Query) -> None:
    """Times and numbers beyond SQLite's range, NaN, bad ids, empty metrics are stored or counted.

    The good span beside them is stored.
    """
    odd = span(1, attributes={"nan": float("nan"), "inf": float("-inf"), "big": 2**63 - 1, "nul": "a\0b"})
    odd.start_time_unix_nano = 2**64 - 1
    odd.end_time_unix_nano = 1
    nameless = span(2)
    nameless.span_id = b"short"
    assert store.put("traces", traces([odd, nameless, span(3, "good", parent=3)]))
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    scope.metrics.add(name="no data")
    scope.metrics.add(name="no points").gauge.SetInParent()
    histogram = scope.metrics.add(name="h").histogram.data_points.add(count=2**64 - 1, sum=float("inf"))
    histogram.bucket_counts.extend([1, 2**64 - 1])
    histogram.explicit_bounds.append(float("inf"))
    exponential = scope.metrics.add(name="e").exponential_histogram.data_points.add(scale=3, zero_count=4)
    exponential.positive.bucket_counts.extend([1, 2])
    scope.metrics.add(name="s").summary.data_points.add(sum=1).quantile_values.add(quantile=0.5, value=float("nan"))
    assert store.put("metrics", request.SerializeToString())
    assert query("select name, dur_ns from span order by id") == [("work", 0), ("good", 1_000_000)]
    assert query("select json_extract(attrs, '$.nan'), json_extract(attrs, '$.big') from span where id = 1") == [
        ("nan", 2**63 - 1)
    ]
    assert query("select name, cnt, hex(buckets) from point join series using (sid) order by name") == [
        ("e", 0, ""),
        ("h", 2**63 - 1, "0100000000000000FFFFFFFFFFFFFFFF"),
        ("s", 0, ""),
    ]
    assert query("select reason, n from dropped") == [("identifier not valid", 1)]


def test_value_beyond_limit_is_cut_and_counted(store: Store, query: Query) -> None:
    """Long values and too many attributes or events are cut to the limits, and counted."""
    fat = span(1, attributes={"v": "x" * (LIMITS.value + 1), **{f"a{n}": n for n in range(LIMITS.attributes)}})
    for _ in range(LIMITS.children + 1):
        fat.events.add(name="e")
    assert store.put("traces", traces([fat]))
    lengths = "length(json_extract(attrs, '$.v')), json_array_length(events)"
    assert query(f"select {lengths}, (select count(*) from json_each(attrs)) from span") == [
        (LIMITS.value, LIMITS.children, LIMITS.attributes)
    ]
    assert query("select reason, n from dropped order by reason") == [
        ("attributes left out", 1),
        ("span events or links left out", 1),
        ("value shortened", 1),
    ]


def test_series_beyond_limit_is_refused_and_known_ones_continue(store: Store, query: Query) -> None:
    """Beyond the limit a new series is counted as refused; points of the others still arrive."""
    many = [(START_NS, 1.0, {"user": n}) for n in range(rows.MAX_SERIES + 10)]
    assert store.put("metrics", gauge("g", many))
    assert store.put("metrics", gauge("g", [(START_NS + 1, 2.0, {"user": 3}), (START_NS + 1, 2.0, {"user": -1})]))
    assert query("select count(*) from series") == [(rows.MAX_SERIES,)]
    assert query("select count(*) from point where ts > ?", START_NS) == [(1,)]
    assert query("select n from dropped") == [(11,)]


def test_long_series_loses_its_oldest_points(store: Store, query: Query) -> None:
    """A series of a program that runs for days keeps its newest points."""
    for first in range(0, rows.MAX_POINTS + 1000, 1000):
        assert store.put("metrics", gauge("g", [(START_NS + first + n, 1.0, {}) for n in range(1000)]))
    ((count, newest),) = query("select count(*), max(ts) from point")
    assert count <= rows.MAX_POINTS
    assert newest == START_NS + rows.MAX_POINTS + 999


def test_invalid_request_is_counted_and_others_of_batch_are_stored(store: Store, query: Query) -> None:
    """An unchecked body is counted, and does not discard the others of its batch."""
    assert store.put("traces", traces([span(1)]))
    assert store.put("traces", b"\xff\xff\xff")
    assert store.put("traces", traces([span(2)]))
    assert query("select count(*) from span") == [(2,)]
    assert query("select signal, n from dropped") == [("traces", 1)]


def test_file_and_directory_are_private(tmp_path: Path) -> None:
    """The directory has mode 0700; SQLite's files have mode 0600, whatever the umask."""
    path = tmp_path / "state" / "local" / "s.db"
    before = os.umask(0)
    try:
        with Store(path) as store:
            assert store.put("traces", traces([span(1)]))
            assert store.flush(20)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"s.db": 0o600, "s.db-wal": 0o600, "s.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_default_path_follows_xdg(tmp_path: Path) -> None:
    """An absolute ``XDG_STATE_HOME`` is used, else ``~/.local/state``."""
    assert default_path({"XDG_STATE_HOME": str(tmp_path)}).parent == tmp_path / "otel-distro" / "local"
    fallback = Path.home() / ".local" / "state" / "otel-distro" / "local"
    assert default_path({}).parent == default_path({"XDG_STATE_HOME": "relative"}).parent == fallback


def test_default_path_without_home_raises_with_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home directory, as in containers, gets an error that names the options."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(StoreError, match="set XDG_STATE_HOME or use --db"):
        default_path({})


def fill(store: Store, requests: int, run_id: str = "") -> None:
    """Put ``requests`` times half a megabyte of spans, waiting while the queue is full."""
    of = resource({"otel_distro.run.id": run_id} if run_id else {})
    for number in range(requests):
        first = int.from_bytes(os.urandom(6), "big")
        body = traces([span(first + n, attributes={"v": os.urandom(2000).hex()}) for n in range(120)], of)
        assert store.put("traces", body), number
        assert store.flush(30)


def test_file_at_limit_drops_the_oldest_data(tmp_path: Path) -> None:
    """Beyond the limit the oldest data is dropped and counted, the newest is kept."""
    cap = 8 * 1024 * 1024
    path = tmp_path / "s.db"
    with Store(path, cap=cap) as store:
        fill(store, 60)
        assert store.put("traces", traces([span(1, "newest")]))
        assert store.flush(20)
        with closing(store.connect()) as connection:
            ((names, spans),) = connection.execute("select sum(name = 'newest'), count(*) from span").fetchall()
            dropped = connection.execute("select reason from dropped").fetchall()
    assert names == 1
    assert 120 < spans < 60 * 120
    assert dropped == [("oldest data dropped to make room",)]
    assert path.stat().st_size <= 1.1 * cap


def add_run(store: Store, run_id: str, start_ns: int, *, pinned: bool = False, end_ns: int | None = 1) -> None:
    """Add a run with a span of its own; it has ended unless ``end_ns`` is missing."""
    values = (run_id, start_ns, end_ns, pinned, os.getpid())

    def insert(db: sqlite3.Connection) -> None:
        db.execute(
            "insert into run (id, start_ns, end_ns, pinned, pid, first_span, first_log) values (?, ?, ?, ?, ?, 0, 0)",
            values,
        )

    store.submit(insert)
    number = int.from_bytes(os.urandom(6), "big")
    assert store.put("traces", traces([span(number, run_id)], resource({"otel_distro.run.id": run_id})))


def kept(path: Path) -> set[str]:
    """Reopen the store and return the runs it keeps, each with its span."""
    with Store(path, run_id="new") as store:
        assert store.flush(20)
        with closing(store.connect()) as connection:
            runs = {run for (run,) in connection.execute("select id from run")}
            assert {name for (name,) in connection.execute("select name from span")} == runs
            return runs


def test_run_beyond_age_limit_is_dropped_with_its_data(tmp_path: Path) -> None:
    """A run beyond the age limit is dropped, unless it is pinned or still running."""
    path = tmp_path / "s.db"
    now = time.time_ns()
    old = now - retention.MAX_AGE_NS - 1
    with Store(path) as store:
        add_run(store, "old", old)
        add_run(store, "pinned", old, pinned=True)
        add_run(store, "running", old, end_ns=None)
        add_run(store, "young", now)
        assert store.flush(20)
    assert kept(path) == {"pinned", "running", "young"}


def test_runs_beyond_count_limit_are_dropped(tmp_path: Path) -> None:
    """Including the one that starts, only so many runs are kept; the oldest is dropped."""
    path = tmp_path / "s.db"
    now = time.time_ns()
    with Store(path) as store:
        for number in range(retention.MAX_RUNS + 3):
            add_run(store, f"run {number}", now + number)
        assert store.flush(20)
    assert kept(path) == {f"run {number}" for number in range(4, retention.MAX_RUNS + 3)}


def test_store_beyond_size_limit_drops_whole_runs_first(tmp_path: Path) -> None:
    """A store that is too large drops its oldest run, not the beginning of each."""
    path = tmp_path / "s.db"
    now = time.time_ns()
    with Store(path, cap=100 * 1024 * 1024) as store:
        for number, run_id in enumerate(("first", "second")):
            add_run(store, run_id, now + number)
            fill(store, 6, run_id)
    with Store(path, run_id="new", cap=5 * 1024 * 1024) as store:
        assert store.flush(20)
        with closing(store.connect()) as connection:
            assert connection.execute("select run_id, count(*) from span join resource using (rid)").fetchall() == [
                ("second", 6 * 120 + 1)
            ]


def test_reader_in_another_process_works_during_writes(tmp_path: Path) -> None:
    """Plain SQLite reads the file beside the writer, even during one of its transactions."""
    path = tmp_path / "s.db"
    program = f"import sqlite3; print(sqlite3.connect({str(path)!r}).execute('select count(*) from span').fetchone())"
    seen: list[str] = []

    def read_meanwhile(db: sqlite3.Connection) -> None:
        db.execute("delete from span")
        seen.append(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

    with Store(path) as store:
        assert store.put("traces", traces([span(1)]))
        assert store.flush(20)
        store.submit(read_meanwhile)
        assert store.flush(20)
    assert seen == ["(1,)\n"]


def test_foreign_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    """A file of another program or of another version is refused by name and not changed."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"theirs\.db: is a database of something else"):
        Store(path)
    assert path.read_bytes() == before
    text = tmp_path / "text.db"
    text.write_text("not a database, " * 100)
    with pytest.raises(StoreError, match=r"text\.db: file is not a database"):
        Store(text)


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the state directory cannot redirect writes."""
    target = tmp_path / "target"
    link = tmp_path / "s.db"
    link.symlink_to(target)
    with pytest.raises(StoreError, match=r"s\.db"):
        Store(link)
    assert not target.exists()


def test_new_store_opened_by_many_commands_works(tmp_path: Path) -> None:
    """Of several commands that start together, one creates the tables and all write."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from otel_distro.local.store import Store\n"
        "from tests.support.otlp import span, traces\n"
        "sys.stdin.read(1)\n"
        "with Store(Path(sys.argv[1])) as store:\n"
        "    assert store.put('traces', traces([span(int(sys.argv[2]))]))\n"
        "    assert store.flush(20)\n"
    )
    path = tmp_path / "s.db"
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(n)], stdin=subprocess.PIPE, cwd=root)
        for n in range(1, 7)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 6
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select count(*) from span").fetchone() == (6,)
        assert connection.execute("select count(*) from dropped").fetchone() == (0,)


def test_store_without_path_works_in_memory() -> None:
    """Without a path the store works alike, in memory."""
    with Store(None) as store:
        assert store.put("traces", traces([span(1)]))
        assert store.flush(20)
        with closing(store.connect()) as connection:
            assert connection.execute("select count(*) from span").fetchone() == (1,)


@pytest.mark.parametrize("order", [("traces", "logs"), ("logs", "traces")])
def test_error_with_fingerprint_of_sender_is_grouped_by_it(store: Store, query: Query, order: tuple[str, ...]) -> None:
    """An error on a span and in a record forms one group, in either order of arrival.

    The group is the sender's fingerprint.
    """
    bodies = {
        "traces": traces([span(1, error=ERROR), span(2, error=ERROR)]),
        "logs": logs([Log("bad", trace=1, span=1, attributes={**ERROR, "python.exception.fingerprint": "ab12"})]),
    }
    for signal in (*order, *order):
        assert store.put(signal, bodies[signal])
    found = query("select fp, n, stack from exc_group order by fp = 'ab12'")
    assert [(fp == "ab12", n, stack) for fp, n, stack in found] == [
        (False, 1, "ValueError: bad row"),
        (True, 1, "ValueError: bad row"),
    ]
