"""The names we emit obey the rules of the semantic conventions, and their Prometheus names are predicted rightly."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

import opentelemetry.semconv
import pytest

from otel_distro import schema as s

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
UNIT = re.compile(r"1|s|ms|By|Hz|%|\{[a-z]+(_[a-z]+)*\}")
METRICS = (*s.metrics(), *s.metrics(upstream=True))
THEIR_ROOTS = ("otel", "process", "system", "cpython", "http", "db")


@cache
def conventions() -> frozenset[str]:
    """Return every name of an attribute or metric that the installed conventions declare."""
    (folder,) = map(Path, opentelemetry.semconv.__path__)
    modules = (".".join(file.relative_to(folder).with_suffix("").parts) for file in sorted(folder.rglob("[!_]*.py")))
    values = [
        value for name in modules for value in vars(importlib.import_module(f"opentelemetry.semconv.{name}")).values()
    ]
    return frozenset(value for value in values if isinstance(value, str) and NAME.fullmatch(value))


def roots() -> set[str]:
    """Return the root namespaces of the conventions."""
    return {name.partition(".")[0] for name in conventions()}


@pytest.mark.parametrize("name", [m.name for m in METRICS] + [a.name for a in s.attributes()])
def test_name_is_well_formed(name: str) -> None:
    """Lower case words joined by underscores, in namespaces divided by dots, without ``total`` or a plural namespace."""
    assert NAME.fullmatch(name)
    assert not name.endswith("total")
    assert ".." not in name


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metric_is_declared_whole(metric: s.Metric) -> None:
    """Unit as UCUM writes it, a sentence for a description, bounds for histograms only and in rising order."""
    assert UNIT.fullmatch(metric.unit)
    assert metric.brief.endswith(".")
    assert metric.brief[0].isupper()
    assert not metric.buckets or metric.instrument == "histogram"
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric.name.endswith(".utilization"):
        assert (metric.unit, metric.instrument) == ("1", "gauge")
    if metric.name.endswith(".duration"):
        assert (metric.unit, metric.instrument) == ("s", "histogram")


def test_our_roots_are_free() -> None:
    """No root namespace of ours is one of the conventions."""
    assert len(roots()) > 50
    assert not set(s.OWN_ROOTS) & roots()


def test_every_root_is_ours_or_theirs() -> None:
    """A name of ours lies under one of our roots, or the conventions have its root."""
    assert roots() >= set(THEIR_ROOTS)
    known = {*roots(), *s.OWN_ROOTS}
    assert {a.name for a in s.attributes() if a.name.partition(".")[0] not in known} == set()
    assert {m.name for m in METRICS if m.name.partition(".")[0] not in {*THEIR_ROOTS, *s.OWN_ROOTS}} == set()


def test_names_under_their_roots_are_theirs() -> None:
    """Under a root of the conventions stand their names only, and the Collector's where the conventions have none."""
    names = [m.name for m in METRICS] + [a.name for a in s.attributes()]
    theirs = {name for name in names if name.partition(".")[0] not in s.OWN_ROOTS}
    collectors = {f"system.cpu.load_average.{minutes}m" for minutes in (1, 5, 15)}
    # https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
    specified = {"otel.metric.overflow"}
    assert theirs - conventions() == collectors | specified


def test_nothing_is_declared_twice() -> None:
    """Each name stands once, as what it is, and no two have the same series or label in Prometheus."""
    for names in (
        [m.name for m in METRICS],
        [a.name for a in s.attributes()],
        [e.name for e in s.events()],
        [a.label for a in s.attributes()],
        [m.series("count" if m.instrument == "histogram" else "") for m in METRICS],
    ):
        assert len(names) == len(set(names))


def test_attributes_of_metrics_and_events_are_declared() -> None:
    """What a metric or event carries is one of the declared attributes."""
    declared = set(s.attributes())
    assert {a for m in METRICS for a in m.attributes} <= declared
    assert {a for e in s.events() for a in e.attributes} <= declared


@pytest.mark.parametrize(
    ("metric", "part", "series"),
    [
        (s.Metric("job.runs", "counter", "{run}", ""), "", "job_runs_total"),
        (s.Metric("process.cpu.time", "counter", "s", ""), "", "process_cpu_time_seconds_total"),
        (s.Metric("disk.io", "counter", "By", ""), "", "disk_io_bytes_total"),
        (s.Metric("hits", "counter", "1", ""), "", "hits_total"),
        (s.Metric("cpu.utilization", "gauge", "1", ""), "", "cpu_utilization_ratio"),
        (s.Metric("share", "updowncounter", "1", ""), "", "share_ratio"),
        (s.Metric("threads", "updowncounter", "{thread}", ""), "", "threads"),
        (s.Metric("uptime_seconds", "gauge", "s", ""), "", "uptime_seconds"),
        (s.Metric("job.run.duration", "histogram", "s", ""), "bucket", "job_run_duration_seconds_bucket"),
        (s.Metric("job.run.duration", "histogram", "s", ""), "count", "job_run_duration_seconds_count"),
        (s.Metric("body.size", "histogram", "By", ""), "sum", "body_size_bytes_sum"),
        (s.Metric("odds", "histogram", "1", ""), "count", "odds_count"),
        (s.HTTP_SERVER_DURATION, "count", "http_server_request_duration_seconds_count"),
        (s.SYSTEM_MEMORY_UTILIZATION, "", "system_memory_utilization_ratio"),
        (s.PYTHON_EXCEPTIONS, "", "python_exceptions_total"),
    ],
)
def test_series(metric: s.Metric, part: str, series: str) -> None:
    """The name in Prometheus has the unit and what the instrument adds."""
    assert metric.series(part) == series  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "part"), [(s.PYTHON_EXCEPTIONS, "bucket"), (s.HTTP_SERVER_DURATION, "")])
def test_series_of_the_wrong_kind(metric: s.Metric, part: str) -> None:
    """A part of what has none, and none of what has three, is refused."""
    with pytest.raises(ValueError, match=metric.name):
        metric.series(part)  # type: ignore[arg-type]
