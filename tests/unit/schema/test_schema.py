"""Names follow the semantic conventions, and their Prometheus names are computed correctly."""

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
def test_telemetry_name_is_well_formed(name: str) -> None:
    """Names are lower case with underscores, in dotted namespaces, without ``total``."""
    assert NAME.fullmatch(name)
    assert not name.endswith("total")
    assert ".." not in name


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metric_has_unit_description_and_bounds(metric: s.Metric) -> None:
    """A metric has a UCUM unit and a sentence; only histograms have bounds, in rising order."""
    assert UNIT.fullmatch(metric.unit)
    assert metric.brief.endswith(".")
    assert metric.brief[0].isupper()
    assert not metric.buckets or metric.instrument == "histogram"
    assert list(metric.buckets) == sorted(set(metric.buckets))
    if metric.name.endswith(".utilization"):
        assert (metric.unit, metric.instrument) == ("1", "gauge")
    if metric.name.endswith(".duration"):
        assert (metric.unit, metric.instrument) == ("s", "histogram")


def test_own_roots_are_not_of_the_conventions() -> None:
    """No root namespace of this distribution is one of the conventions."""
    assert len(roots()) > 50
    assert not set(s.OWN_ROOTS) & roots()


def test_root_of_every_name_is_declared() -> None:
    """Every name is under a root of this distribution or of the conventions."""
    assert roots() >= set(THEIR_ROOTS)
    known = {*roots(), *s.OWN_ROOTS}
    assert {a.name for a in s.attributes() if a.name.partition(".")[0] not in known} == set()
    assert {m.name for m in METRICS if m.name.partition(".")[0] not in {*THEIR_ROOTS, *s.OWN_ROOTS}} == set()


def test_name_under_a_root_of_the_conventions_is_theirs() -> None:
    """Under a root of the conventions are only their names and those of the Collector."""
    names = [m.name for m in METRICS] + [a.name for a in s.attributes()]
    theirs = {name for name in names if name.partition(".")[0] not in s.OWN_ROOTS}
    collectors = {f"system.cpu.load_average.{minutes}m" for minutes in (1, 5, 15)}
    # https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute
    specified = {"otel.metric.overflow"}
    assert theirs - conventions() == collectors | specified


def test_names_are_declared_once() -> None:
    """Each name is declared once, and no two have the same series or label in Prometheus."""
    for names in (
        [m.name for m in METRICS],
        [a.name for a in s.attributes()],
        [e.name for e in s.events()],
        [a.label for a in s.attributes()],
        [m.series("count" if m.instrument == "histogram" else "") for m in METRICS],
    ):
        assert len(names) == len(set(names))


def test_attributes_of_metrics_and_events_are_declared() -> None:
    """Attributes of metrics and events are declared."""
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
def test_series_name_has_its_suffixes(metric: s.Metric, part: str, series: str) -> None:
    """The name in Prometheus has the suffixes of the unit and the instrument."""
    assert metric.series(part) == series  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "part"), [(s.PYTHON_EXCEPTIONS, "bucket"), (s.HTTP_SERVER_DURATION, "")])
def test_series_with_wrong_part_is_refused(metric: s.Metric, part: str) -> None:
    """A part of another instrument, or none for a histogram, is refused."""
    with pytest.raises(ValueError, match=metric.name):
        metric.series(part)  # type: ignore[arg-type]
