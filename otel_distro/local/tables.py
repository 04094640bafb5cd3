"""The tables of the store. Times are integer nanoseconds since 1970, ids blobs, attributes JSON."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x4F444C31
"""Identifies a SQLite file as a store (``pragma application_id``); other databases are never
written to."""

VERSION: Final = 1
"""Version of the tables (``pragma user_version``). Files of another version are left alone: there
are no migrations."""

PAGE_BYTES: Final = 8192

SCHEMA: Final = """
create table run (
  id text primary key, name text, argv text, cwd text, host text, pid integer,
  start_ns integer, end_ns integer, exit_code integer, signal integer,
  cpu_s real, max_rss integer, pinned integer not null default 0,
  first_span integer not null, first_log integer not null
) without rowid;
create table resource (
  rid integer primary key, hash blob not null unique, run_id text not null, service text, instance text, attrs text
);
create index resource_run on resource (run_id);
create table scope (scid integer primary key, hash blob not null unique, name text, version text, attrs text);

create table span (
  id integer primary key, trace_id blob not null, span_id blob not null, parent_id blob, rid integer not null,
  scid integer not null, name text, kind integer, start_ns integer, dur_ns integer, status integer, status_msg text,
  route text, http_method text, http_status integer, db_system text, attrs text, events text, links text,
  unique (trace_id, span_id)
);
create index span_start on span (start_ns);

create table log (
  id integer primary key, key integer not null unique, ts integer, rid integer not null, scid integer not null,
  sev integer, sev_text text, body text, trace_id blob, span_id blob, attrs text, event_name text
);
create index log_ts on log (ts);
create index log_trace on log (trace_id) where trace_id is not null;

create table exc (
  id integer primary key, key blob not null unique, fp text not null, ts integer, rid integer not null,
  trace_id blob, span_id blob, type text, msg text
);
create index exc_fp on exc (fp, ts);
create table exc_stack (fp text primary key, culprit text, stack text) without rowid;
create view exc_group as
  select fp, type, culprit, stack, min(ts) first_ns, max(ts) last_ns, count(*) n
  from exc join exc_stack using (fp) group by fp;

create table series (
  sid integer primary key, hash blob not null unique, rid integer not null, scid integer not null, name text,
  kind text, unit text, temporality integer, monotonic integer, attrs text
);
create index series_name on series (name);
create table bounds (bid integer primary key, hash blob not null unique, packed blob);
create table point (
  sid integer, ts integer, start_ns integer, val real, cnt integer, lo real, hi real,
  bid integer, buckets blob, detail text, exemplars text, primary key (sid, ts)
) without rowid;

create table dropped (
  run_id text, signal text, reason text, n integer, sample text, primary key (run_id, signal, reason)
) without rowid;
"""
"""A span's identity is (trace, span). A log's ``key`` is a hash of its resource, scope, content and
position among equal records of one batch. An error's ``key`` is (trace, span, type). So a batch
that is delivered twice adds nothing.

``exc.fp`` is the fingerprint that the sender set on the error's record, else one of the store's own
(``failures.py``). ``exc_stack`` keeps the newest stack trace of a group. ``val`` and ``cnt`` of a
histogram are its sum and count; ``bounds.packed`` holds doubles and ``buckets`` unsigned 64-bit
counts, little-endian; ``detail`` is the JSON of an exponential histogram or a summary.
``run.first_span`` and ``run.first_log`` are the row ids before the run's data.
"""
