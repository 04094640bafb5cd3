"""Parts of the SDK chosen by the environment: the same as upstream's configurator chooses."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk import resources
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio

from otel_distro._otel import components, sdk
from otel_distro._otel.logs import LogRecordProcessor
from otel_distro._otel.patch import sdk_release

if TYPE_CHECKING:
    from collections.abc import Mapping

SELF_METRICS = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets variables for one test."""

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, []),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_grpc"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ["otlp_proto_http"]),
        (
            {
                "OTEL_TRACES_EXPORTER": " console, otlp",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ["console", "otlp_proto_http"],
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_http"}, ["otlp_proto_http"]),
    ],
)
def test_exporter_names_follow_the_protocol(variables: Mapping[str, str], names: list[str], environ: Any) -> None:
    """``otlp`` is the exporter of the protocol, that of the signal first; other names are kept."""
    environ(**variables)
    assert components.exporter_names("traces") == names


def test_exporter_that_is_not_installed_raises() -> None:
    """The error names what was asked for."""
    with pytest.raises(RuntimeError, match="'zipkin' not found in entry point 'opentelemetry_traces_exporter'"):
        components.exporter_class("traces", "zipkin")


def test_sampler_of_environment(environ: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Named samplers are made with their argument; a bad one gives the default with a warning."""
    assert components.sampler() is None
    environ(OTEL_TRACES_SAMPLER="always_off")
    made = components.sampler()
    assert made is not None
    assert made.get_description() == ALWAYS_OFF.get_description()
    environ(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25")
    sampler = components.sampler()
    assert isinstance(sampler, ParentBasedTraceIdRatio)
    assert "0.25" in sampler.get_description()
    assert caplog.records == []
    environ(OTEL_TRACES_SAMPLER="no such sampler")
    assert components.sampler() is None
    assert [record.name for record in caplog.records] == ["opentelemetry.sdk._configuration"]


@pytest.mark.parametrize("detectors", ["", "host,os,process", "otel", "service_instance,os"])
def test_resource_equals_upstreams(detectors: str, environ: Any) -> None:
    """Detectors that run one after the other give what ``Resource.create`` gives."""
    environ(OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=detectors, OTEL_RESOURCE_ATTRIBUTES="team=shop,service.name=web")
    made, expected = (
        components.resource({"telemetry.distro.name": "d"}),
        resources.Resource.create({"telemetry.distro.name": "d"}),
    )
    assert made.attributes == expected.attributes
    assert made.schema_url == expected.schema_url


def test_resource_without_service_name_has_that_of_the_executable() -> None:
    """The specification's name, as upstream gives it from 1.45 on."""
    made = components.resource({}).attributes
    assert made["service.name"] == f"unknown_service:{Path(sys.executable).name}"
    assert sdk_release() < (1, 45) or made == resources.Resource.create({}).attributes


@pytest.mark.parametrize(
    ("preference", "delta"),
    [("", set()), ("cumulative", set()), ("delta", {Counter, Histogram, ObservableCounter}),
     ("lowmemory", {Counter, Histogram})],
)  # fmt: skip
def test_metric_preferences_of_environment(preference: str, delta: set[Any], environ: Any) -> None:
    """Temporality as the specification has it, exponential histograms if asked for."""
    environ(
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preference,
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram",
    )
    found = components.metric_preferences()
    temporality = found["preferred_temporality"]
    assert {kind for kind, value in temporality.items() if value is AggregationTemporality.DELTA} == delta
    assert temporality[UpDownCounter] is AggregationTemporality.CUMULATIVE
    assert isinstance(found["preferred_aggregation"][Histogram], ExponentialBucketHistogramAggregation)


@pytest.mark.parametrize(("value", "on", "left"), [("true", True, None), ("false", False, "false"), (None, True, None)])
def test_self_metrics_are_counted_once(
    value: str | None, on: bool, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own counting is off by its default; the user's ``false`` holds for both."""
    if value is not None:
        monkeypatch.setenv(SELF_METRICS, value)
    assert components.take_over_self_metrics() is on
    assert os.environ.get(SELF_METRICS) == left


class Named(LogRecordProcessor):
    """Notes in which order processors get a record."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    def on_emit(self, log_record: Any) -> None:
        self.seen.append(self.name)

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def test_log_processor_that_is_added_later_runs_before_the_last() -> None:
    """The queue gets a record when all others have changed it."""
    seen: list[str] = []
    last = Named("last", seen)
    processors = sdk.processors_with_last(last)
    provider = sdk.LoggerProvider(shutdown_on_exit=False, multi_log_record_processor=processors)
    for processor in (Named("first", seen), last, Named("later", seen)):
        provider.add_log_record_processor(processor)
    provider.get_logger("app").emit(body="x")
    assert seen == ["first", "later", "last"]
