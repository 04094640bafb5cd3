"""The telemetry of one run, summed up as plain data."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from otel_distro import schema
from otel_distro.local.attributes import first_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_CLIENT: Final = 3
_ERROR: Final = 2
_WARN: Final = 13
_SAME_ERROR_NS: Final = 10**9
_STATEMENT: Final = (schema.DB_QUERY_TEXT.name, "db.statement")
_HOST: Final = (schema.SERVER_ADDRESS.name, "net.peer.name")
_URL: Final = ("url.full", "http.url")
_CONNECT: Final = "connect"
LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_REFUSALS: Final = (schema.AUDIT_HTTP_REFUSED.name, schema.AUDIT_AUTH_LOGIN.name)
NO_LEVEL: Final = "no level"


@dataclass
class Timing:
    """Operations of one name; times in nanoseconds."""

    name: str
    durations: array[int] = field(default_factory=lambda: array("q"))
    errors: int = 0

    def add(self, duration: int, failed: bool) -> None:
        """Count one operation."""
        self.durations.append(duration)
        self.errors += failed

    @property
    def count(self) -> int:
        """Number of operations."""
        return len(self.durations)

    @property
    def total(self) -> int:
        """Sum of their times."""
        return sum(self.durations)

    @property
    def longest(self) -> int:
        """Time of the slowest."""
        return max(self.durations)

    def percentile(self, share: float) -> int:
        """Return the smallest time that ``share`` of the operations did not exceed."""
        ordered = sorted(self.durations)
        return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


@dataclass
class ErrorGroup:
    """Errors of one class from one place."""

    type: str
    message: str
    culprit: str
    stack: str
    count: int


@dataclass(frozen=True)
class Process:
    """A process that sent its own metrics; None where it did not send one."""

    name: str
    peak_memory: float | None
    cpu_s: float | None


@dataclass(frozen=True)
class Events:
    """Business and audit events of one name, and the number of failures among them."""

    name: str
    count: int
    failed: int


@dataclass
class Summary:
    """One run; ``run`` is its row of table ``run``. Each list is ordered by importance.

    ``new_errors``: fingerprints that this version had not shown before. ``duplicates``: log records
    that were replaced by a later equal one. ``refused``: refused requests and failed logins by
    address of the client.
    """

    run: dict[str, Any]
    traces: int = 0
    spans: int = 0
    failed_spans: int = 0
    logs: int = 0
    metrics: int = 0
    series: int = 0
    points: int = 0
    operations: list[Timing] = field(default_factory=list)
    statements: list[Timing] = field(default_factory=list)
    calls: list[Timing] = field(default_factory=list)
    errors: list[ErrorGroup] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)
    events: list[Events] = field(default_factory=list)
    new_errors: int = 0
    duplicates: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    dropped: list[tuple[str, str, int]] = field(default_factory=list)


def collect(db: sqlite3.Connection, run_id: str) -> Summary:
    """Return the summary of run ``run_id`` so far.

    Raises:
        LookupError: The store has no such run.
    """
    cursor = db.execute("select * from run where id = ?", (run_id,))
    row = cursor.fetchone()
    if row is None:
        raise LookupError(f"run {run_id} is not in the store")
    summary = Summary(dict(zip((column[0] for column in cursor.description), row, strict=True)))
    _collect_spans(db, summary)
    _collect_errors(db, summary)
    _collect_logs(db, summary)
    _collect_metrics(db, summary)
    summary.dropped = db.execute(
        "select signal, reason, n from dropped where run_id = ? order by signal, reason", (run_id,)
    ).fetchall()
    return summary


def _collect_spans(db: sqlite3.Connection, summary: Summary) -> None:
    of_run = "from span s join resource using (rid) where run_id = ? and id > ?"
    where = (summary.run["id"], summary.run["first_span"])
    (summary.traces,) = db.execute(f"select count(distinct trace_id) {of_run}", where).fetchone()
    timings: dict[str, dict[str, Timing]] = {"operations": {}, "statements": {}, "calls": {}}
    columns = "name, kind, dur_ns, status, http_method, http_status, db_system"
    needed = f"case when db_system is not null or kind = {_CLIENT} then s.attrs end"
    for name, kind, duration, status, method, code, system, attrs in db.execute(
        f"select {columns}, {needed} {of_run}", where
    ):
        failed = status == _ERROR
        summary.spans += 1
        summary.failed_spans += failed
        group, label = "operations", name
        if system and name != _CONNECT:
            group, label = "statements", str(first_of(_load(attrs), *_STATEMENT) or name)
        elif kind == _CLIENT and method:
            group, label = "calls", f"{method} {_host(_load(attrs)) or name}"
            failed = failed or (code or 0) >= 400
        timings[group].setdefault(label, Timing(label)).add(duration, failed)
    summary.operations = _slowest(timings["operations"].values())
    summary.calls = _slowest(timings["calls"].values())
    summary.statements = sorted(timings["statements"].values(), key=lambda t: t.total, reverse=True)


def _slowest(timings: Iterable[Timing]) -> list[Timing]:
    return sorted(timings, key=lambda t: (t.percentile(0.95), t.total), reverse=True)


def _load(attrs: str | None) -> dict[str, Any]:
    found = json.loads(attrs) if attrs else {}
    return found if isinstance(found, dict) else {}


def _host(attributes: dict[str, Any]) -> str:
    host = first_of(attributes, *_HOST)
    port = attributes.get(schema.SERVER_PORT.name)
    if host:
        return f"{host}:{port}" if port and port not in (80, 443) else str(host)
    try:
        # Without the user and password that a URL may hold.
        return urlsplit(str(first_of(attributes, *_URL) or "")).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _collect_errors(db: sqlite3.Connection, summary: Summary) -> None:
    """Group the errors. An error counts once if several spans recorded it, or a later log did."""
    rows = db.execute(
        "select fp, ts, e.rid, e.trace_id, e.span_id, type, msg, s.parent_id from exc e join resource using (rid)"
        " left join span s on s.trace_id = e.trace_id and s.span_id = e.span_id where run_id = ? order by ts",
        (summary.run["id"],),
    ).fetchall()
    passed_on = {(trace, parent, kind, msg) for _, _, _, trace, _, kind, msg, parent in rows if parent}
    traced: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for _, ts, rid, trace, _, kind, msg, _ in rows:
        if trace:
            traced[rid, kind.rpartition(".")[2], msg].append(ts)
    groups: dict[str, ErrorGroup] = {}
    for fp, ts, rid, trace, span, kind, msg, _ in rows:
        if trace and (trace, span, kind, msg) in passed_on:
            continue
        before = traced[rid, kind.rpartition(".")[2], msg]
        if not trace and any(0 <= ts - other < _SAME_ERROR_NS for other in before):
            continue
        group = groups.setdefault(fp, ErrorGroup(kind, msg, "", "", 0))
        group.count += 1
        group.message = msg
        group.type = max(group.type, kind, key=len)
    for fp, group in groups.items():
        stored = db.execute("select culprit, stack from exc_stack where fp = ?", (fp,)).fetchone()
        group.culprit, group.stack = stored or ("", "")
    summary.errors = sorted(groups.values(), key=lambda group: group.count, reverse=True)


def _collect_logs(db: sqlite3.Connection, summary: Summary) -> None:
    levels: dict[str, int] = dict.fromkeys((*LEVELS, NO_LEVEL), 0)
    for severity, count in db.execute(
        "select sev, count(*) from log join resource using (rid) where run_id = ? and id > ? group by sev",
        (summary.run["id"], summary.run["first_log"]),
    ):
        # Four numbers make a level:
        # https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
        known = 1 <= severity <= 24
        levels[LEVELS[(severity - 1) // 4] if known else NO_LEVEL] += count
        summary.logs += count
    summary.levels = {level: count for level, count in levels.items() if count}
    summary.events = [
        Events(*row)
        for row in db.execute(
            "select event_name, count(*), sum(sev >= ?) from log join resource using (rid)"
            " where run_id = ? and id > ? and event_name is not null and event_name not in (?, ?)"
            " group by event_name order by 2 desc, 1",
            (_WARN, summary.run["id"], summary.run["first_log"], schema.EXCEPTION.name, schema.WARNING.name),
        )
    ]
    _collect_details(db, summary)


def _collect_details(db: sqlite3.Connection, summary: Summary) -> None:
    """Count what only attributes of log records hold, reading just the records that have one."""
    first_seen, duplicates, address = (
        schema.EXCEPTION_FIRST_SEEN.name,
        schema.LOG_DUPLICATES.name,
        schema.CLIENT_ADDRESS.name,
    )
    refused: dict[str, int] = defaultdict(int)
    for attrs, event in db.execute(
        "select log.attrs, event_name from log join resource using (rid) where run_id = ? and id > ?"
        " and (instr(log.attrs, ?) or instr(log.attrs, ?) or instr(log.attrs, ?))",
        (summary.run["id"], summary.run["first_log"], first_seen, duplicates, address),
    ):
        found = _load(attrs)
        summary.new_errors += found.get(first_seen) is True
        repeated = found.get(duplicates)
        summary.duplicates += repeated if isinstance(repeated, int) else 0
        if event in _REFUSALS and address in found and found.get(schema.AUDIT_OUTCOME.name) == "failure":
            refused[str(found[address])] += 1
    summary.refused = dict(sorted(refused.items(), key=lambda entry: (-entry[1], entry[0])))


def _collect_metrics(db: sqlite3.Connection, summary: Summary) -> None:
    run = (summary.run["id"],)
    of_run = "from series join resource using (rid) where run_id = ?"
    summary.metrics, summary.series = db.execute(f"select count(distinct name), count(*) {of_run}", run).fetchone()
    (summary.points,) = db.execute(f"select count(*) from point where sid in (select sid {of_run})", run).fetchone()
    memory = _by_resource(db, run, schema.PROCESS_MEMORY_USAGE.name)
    cpu = _by_resource(db, run, schema.PROCESS_CPU_TIME.name)
    resources = db.execute("select rid, service, attrs from resource where run_id = ?", run).fetchall()
    found = []
    for rid, service, attrs in resources:
        if rid in memory or rid in cpu:
            pid = _load(attrs).get(schema.PROCESS_PID.name)
            found.append(Process(f"{service} {pid}" if pid else service, memory.get(rid), cpu.get(rid)))
    summary.processes = sorted(found, key=lambda process: process.peak_memory or 0, reverse=True)


def _by_resource(db: sqlite3.Connection, run: tuple[str], metric: str) -> dict[int, float]:
    """Return the highest value of ``metric`` by resource, summed over its series.

    User and system time, for example, are two series.
    """
    return dict(
        db.execute(
            "select rid, sum(top) from (select rid, sid, max(val) top from point join series using (sid)"
            " join resource using (rid) where run_id = ? and series.name = ? group by rid, sid) group by rid",
            (*run, metric),
        ).fetchall()
    )
