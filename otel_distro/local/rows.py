"""Inserts decoded OTLP requests into the tables, inside the caller's transaction."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_distro import schema
from otel_distro.local.attributes import LIMITS, Attributes, Cuts, attributes_of, to_json
from otel_distro.local.decode import Failure, LogRow, SpanRow, log_rows, span_row
from otel_distro.local.decode_metrics import PointRow, Stream, point_rows, stream_of
from otel_distro.local.failures import culprit, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

REQUESTS: Final = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
"""The message type of each signal's requests."""

MAX_SERIES: Final = 10_000
MAX_POINTS: Final = 5_000
_CACHE: Final = 50_000


def _insert(table: str, columns: str) -> str:
    """Return a statement that inserts a row unless it exists."""
    marks = ",".join("?" * len(columns.split(",")))
    return f"insert or ignore into {table} ({columns}) values ({marks})"


_SPAN = _insert("span", ",".join(("rid", "scid", *SpanRow._fields)))
_LOG = _insert("log", ",".join(("rid", "scid", *LogRow._fields)))
_EXC = _insert("exc", "key,fp,ts,rid,trace_id,span_id,type,msg")
_REGROUP = "update exc set fp = ? where key = ? and fp <> ?"
_POINT = _insert("point", "sid,ts,start_ns,val,cnt,lo,hi,bid,buckets,detail,exemplars")
_STACK = """insert into exc_stack (fp, culprit, stack) values (?, ?, ?)
            on conflict (fp) do update set culprit = excluded.culprit, stack = excluded.stack"""


class Rows:
    """Adds requests through one connection. Data without a run id belongs to ``run_id``."""

    def __init__(self, connection: sqlite3.Connection, run_id: str) -> None:
        self.run_id = run_id
        self._db = connection
        self._ids: dict[bytes, int] = {}
        self._points: Counter[int] = Counter()
        self._series = 0

    def reset_caches(self) -> None:
        """Clear the caches of row ids, after a transaction was rolled back or rows were deleted."""
        self._ids.clear()
        self._points.clear()
        # On a disk error, the previous count stays.
        with contextlib.suppress(sqlite3.Error):
            (self._series,) = self._db.execute(
                "select count(*) from series join resource using (rid) where run_id = ?", (self.run_id,)
            ).fetchone()

    def add(self, signal: str, body: bytes) -> Counter[str]:
        """Add the new items of an export request; return what was cut or refused, by reason."""
        if len(self._ids) > _CACHE:
            self.reset_caches()
        if signal == "traces":
            return self._add_traces(ExportTraceServiceRequest.FromString(body))
        if signal == "logs":
            return self._add_logs(ExportLogsServiceRequest.FromString(body))
        return self._add_metrics(ExportMetricsServiceRequest.FromString(body))

    def _add_traces(self, request: ExportTraceServiceRequest) -> Counter[str]:
        cuts = Cuts()
        spans: list[tuple[object, ...]] = []
        failures: list[tuple[int, Failure]] = []
        for block in request.resource_spans:
            rid, _ = self._resource(block.resource, cuts)
            for scope_spans in block.scope_spans:
                scid, _ = self._scope(scope_spans.scope, cuts)
                for span in scope_spans.spans:
                    decoded = span_row(span, cuts)
                    if decoded is None:
                        cuts["identifier not valid"] += 1
                        continue
                    row, errors = decoded
                    spans.append((rid, scid, *row))
                    failures += [(rid, error) for error in errors]
        self._db.executemany(_SPAN, spans)
        self._add_failures(failures, cuts)
        return cuts

    def _add_logs(self, request: ExportLogsServiceRequest) -> Counter[str]:
        cuts = Cuts()
        logs: list[tuple[object, ...]] = []
        failures: list[tuple[int, Failure]] = []
        for block in request.resource_logs:
            rid, origin = self._resource(block.resource, cuts)
            for scope_logs in block.scope_logs:
                scid, scope = self._scope(scope_logs.scope, cuts)
                for row, error in log_rows(iter(scope_logs.log_records), origin + scope, cuts):
                    logs.append((rid, scid, *row))
                    if error:
                        failures.append((rid, error))
        self._db.executemany(_LOG, logs)
        self._add_failures(failures, cuts)
        return cuts

    def _add_failures(self, failures: list[tuple[int, Failure]], cuts: Cuts) -> None:
        for rid, error in failures:
            frame = culprit(error.stack)
            group = error.fingerprint or fingerprint(error.type, frame)
            added = self._db.execute(
                _EXC,
                (error.key, group, error.ts, rid, error.trace_id, error.span_id, error.type, error.message),
            )
            if not added.rowcount and error.fingerprint:
                # The event on the span, which has no fingerprint, came first: use the group of the
                # record.
                added = self._db.execute(_REGROUP, (group, error.key, group))
            if added.rowcount:
                place = f"{frame.path}:{frame.line} in {frame.function}" if frame else ""
                self._db.execute(_STACK, (group, place, cuts.text(error.stack, LIMITS.text)))

    def _add_metrics(self, request: ExportMetricsServiceRequest) -> Counter[str]:
        cuts = Cuts()
        for block in request.resource_metrics:
            rid, origin = self._resource(block.resource, cuts)
            for scope_metrics in block.scope_metrics:
                scid, scope = self._scope(scope_metrics.scope, cuts)
                for metric in scope_metrics.metrics:
                    self._add_metric(metric, rid, scid, origin + scope, cuts)
        return cuts

    def _add_metric(self, metric: Metric, rid: int, scid: int, origin: bytes, cuts: Cuts) -> None:
        stream = stream_of(metric, cuts)
        if stream is None:
            return
        rows = []
        touched = set()
        for attributes, point in point_rows(metric, cuts):
            sid = self._series_id(stream, attributes, rid, scid, origin)
            if sid is None:
                cuts["series refused: too many"] += 1
                continue
            rows.append(self._point(sid, point))
            self._points[sid] += 1
            touched.add(sid)
        self._db.executemany(_POINT, rows)
        for sid in touched:
            if self._points[sid] > MAX_POINTS:
                self._thin(sid)
                cuts["oldest points of a series dropped"] += 1

    def _point(self, sid: int, point: PointRow) -> tuple[object, ...]:
        bid = None
        if point.bounds is not None:
            key = _digest(b"bounds", point.bounds)
            bid = self._id("bounds", "bid", key, {"packed": point.bounds})
        return (sid, *point[:6], bid, point.buckets, point.detail, point.exemplars)

    def _thin(self, sid: int) -> None:
        """Drop the older half of a series' points."""
        self._db.execute(
            "delete from point where sid = ? and ts <= (select ts from point where sid = ? order by ts desc"
            " limit 1 offset ?)",
            (sid, sid, MAX_POINTS // 2),
        )
        (self._points[sid],) = self._db.execute("select count(*) from point where sid = ?", (sid,)).fetchone()

    def _series_id(self, stream: Stream, attributes: Attributes, rid: int, scid: int, origin: bytes) -> int | None:
        text = to_json(dict(sorted(attributes.items())))
        key = _digest(b"series", origin, repr(stream).encode(), (text or "").encode())
        if key not in self._ids and self._series >= MAX_SERIES:
            known = self._db.execute("select sid from series where hash = ?", (key,)).fetchone()
            return int(known[0]) if known else None
        return self._id("series", "sid", key, {"rid": rid, "scid": scid, **stream._asdict(), "attrs": text})

    def _resource(self, resource: Resource, cuts: Cuts) -> tuple[int, bytes]:
        found = attributes_of(resource.attributes, cuts)
        run_id = str(found.get(schema.RUN_ID.name, self.run_id))
        key = _digest(b"resource", run_id.encode("utf-8", "replace"), resource.SerializeToString(deterministic=True))
        if key in self._ids:
            return self._ids[key], key
        columns = {
            "run_id": run_id,
            "service": str(found.get(schema.SERVICE_NAME.name, "")),
            "instance": str(found.get(schema.SERVICE_INSTANCE_ID.name, "")),
            "attrs": to_json(found),
        }
        return self._id("resource", "rid", key, columns), key

    def _scope(self, scope: InstrumentationScope, cuts: Cuts) -> tuple[int, bytes]:
        key = _digest(b"scope", scope.SerializeToString(deterministic=True))
        if key in self._ids:
            return self._ids[key], key
        attrs = to_json(attributes_of(scope.attributes, cuts))
        columns = {"name": scope.name[: LIMITS.value], "version": scope.version[: LIMITS.value], "attrs": attrs}
        return self._id("scope", "scid", key, columns), key

    def _id(self, table: str, column: str, key: bytes, values: Mapping[str, object]) -> int:
        """Return the row id of the content hash ``key``, inserting the row if it is new."""
        known = self._ids.get(key)
        if known is None:
            added = self._db.execute(_insert(table, ",".join(("hash", *values))), (key, *values.values()))
            if table == "series":
                self._series += added.rowcount
            query = f"select {column} from {table} where hash = ?"
            (known,) = self._db.execute(query, (key,)).fetchone()
            self._ids[key] = int(known)
        return self._ids[key]


def _digest(*parts: bytes) -> bytes:
    """Return 16 bytes that identify ``parts``."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
