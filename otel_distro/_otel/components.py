"""Parts of the SDK that the environment chooses, found by their entry points.

The same variables, groups and defaults as upstream's configurator, without its private functions.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, cast

from otel_distro._otel import patches
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

_SELF_METRICS = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
_BY_PROTOCOL = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_WITH_RATIO = ("traceidratio", "parentbased_traceidratio")


def entry_points(**params: str) -> Any:
    """Return the entry points of a group, or the one of a name in it."""
    return _reader()(**params)


@functools.cache
def _reader() -> Callable[..., Any]:
    if patches.ENTRY_POINTS.on:
        from opentelemetry.util._importlib_metadata import entry_points as cached

        return cached
    return lambda **params: _installed().select(**params)


@functools.cache
def _installed() -> Any:
    return metadata.entry_points()


def load(group: str, name: str) -> Any:
    """Return the object of the entry point ``name`` in ``group``.

    Raises:
        RuntimeError: No package registers it.
    """
    for entry_point in entry_points(group=group, name=name.strip()):
        return entry_point.load()
    raise RuntimeError(f"Requested component '{name}' not found in entry point '{group}'")


def exporter_names(signal: str) -> list[str]:
    """Return the entry point names of the exporters chosen for ``signal``, protocol included."""
    chosen = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    if chosen.strip().lower() in ("", "none"):
        return []
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", ""
    )
    otlp = _BY_PROTOCOL.get(protocol.strip(), "otlp_proto_grpc")
    return [otlp if name.strip() == "otlp" else name.strip() for name in chosen.split(",")]


def exporter_class(signal: str, name: str) -> type[Any]:
    """Return the class of an exporter or metric reader.

    Raises:
        RuntimeError: No package registers it.
    """
    return cast("type[Any]", load(f"opentelemetry_{signal}_exporter", name))


def sampler() -> Sampler | None:
    """Return the sampler of ``OTEL_TRACES_SAMPLER``, or None for the SDK's default."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip()
    if not name:
        return None
    from opentelemetry.sdk.trace.sampling import Sampler

    argument: Any = os.environ.get("OTEL_TRACES_SAMPLER_ARG")
    if name in _WITH_RATIO:
        try:
            argument = float(argument or "")
        except ValueError:
            _warn("Could not convert TRACES_SAMPLER_ARG to float. Using default value 1.0.")
            argument = 1.0
    try:
        found = load("opentelemetry_traces_sampler", name)(argument)
    except Exception as error:
        found = error
    if isinstance(found, Sampler):
        return found
    _warn(f"Using default sampler. Failed to initialize sampler, {name}: {found}")
    return None


def id_generator() -> IdGenerator | None:
    """Return the generator of ``OTEL_PYTHON_ID_GENERATOR``, or None for the SDK's default."""
    name = os.environ.get("OTEL_PYTHON_ID_GENERATOR", "random").strip()
    return None if name in ("", "random") else cast("IdGenerator", load("opentelemetry_id_generator", name)())


def scope_configurator(signal: Literal["tracer", "meter", "logger"]) -> dict[str, Any]:
    """Return the argument of a provider for ``OTEL_PYTHON_<SIGNAL>_CONFIGURATOR``, or none."""
    name = os.environ.get(f"OTEL_PYTHON_{signal.upper()}_CONFIGURATOR", "").strip()
    if not name or not patches.SCOPE_CONFIGURATORS.on:
        return {}
    try:
        return {f"_{signal}_configurator": load(f"_opentelemetry_{signal}_configurator", name)}
    except Exception as error:
        _warn(f"Using default {signal} configurator. Failed to load {signal} configurator, {name}: {error}")
        return {}


def opamp(stage: Literal["pre", "post"], resource: Resource) -> None:
    """Run the OpAMP hook of ``stage`` where a package registers one."""
    for entry_point in entry_points(group="_opentelemetry_opamp", name=f"{stage}_sdk_init_function"):
        with guard(f"the OpAMP hook {entry_point.value}"):
            entry_point.load()(resource)


def resource(attributes: dict[str, str]) -> Resource:
    """Return the resource of this process: what the detectors find, then ``attributes``.

    The detectors of OpenTelemetry run here, one after the other. Those of other packages may use
    the network: upstream's ``Resource.create`` gives them threads and a time limit.
    """
    from opentelemetry.sdk import resources

    detectors = _detectors()
    if detectors is None:
        return resources.Resource.create(dict(attributes))
    found = resources.Resource(
        {
            resources.TELEMETRY_SDK_LANGUAGE: "python",
            resources.TELEMETRY_SDK_NAME: "opentelemetry",
            resources.TELEMETRY_SDK_VERSION: _sdk_version(),
        }
    )
    for detector in detectors:
        with guard(f"resource detector {type(detector).__name__}"):
            found = found.merge(detector.detect())
    if not found.attributes.get(resources.SERVICE_NAME):
        name = f"unknown_service:{os.path.basename(sys.executable)}" if sys.executable else "unknown_service"
        attributes = {resources.SERVICE_NAME: name, **attributes}
    return found.merge(resources.Resource(dict(attributes)))


def _detectors() -> list[Any] | None:
    """Return the chosen resource detectors in upstream's order.

    None if one of them is not OpenTelemetry's own.
    """
    names = [name.strip() for name in os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").split(",")]
    names = [name for name in names if name]
    if "*" in names:
        return None
    if "service_instance" not in names:
        names.insert(0, "service_instance")
    found = []
    for name in dict.fromkeys([*names, "otel"]):
        try:
            detector = load("opentelemetry_resource_detector", name)()
        except Exception:
            return None
        if type(detector).__module__ != "opentelemetry.sdk.resources":
            return None
        found.append(detector)
    return found


def _sdk_version() -> str:
    from opentelemetry.sdk.version import __version__

    return str(__version__)


def metric_preferences() -> dict[str, Any]:
    """Return temporality and aggregation by instrument, as ``OTEL_EXPORTER_OTLP_METRICS_*`` say."""
    from opentelemetry.sdk import metrics
    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation

    wanted = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "").strip().upper()
    as_delta = {
        "DELTA": (metrics.Counter, metrics.Histogram, metrics.ObservableCounter),
        "LOWMEMORY": (metrics.Counter, metrics.Histogram),
    }.get(wanted, ())
    every: tuple[Any, ...] = (
        metrics.Counter,
        metrics.UpDownCounter,
        metrics.Histogram,
        metrics.ObservableCounter,
        metrics.ObservableUpDownCounter,
        metrics.ObservableGauge,
    )
    histogram = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "").strip().upper()
    is_exponential = histogram == "BASE2_EXPONENTIAL_BUCKET_HISTOGRAM"
    return {
        "preferred_temporality": {
            kind: AggregationTemporality.DELTA if kind in as_delta else AggregationTemporality.CUMULATIVE
            for kind in every
        },
        "preferred_aggregation": {
            metrics.Histogram: ExponentialBucketHistogramAggregation()
            if is_exponential
            else ExplicitBucketHistogramAggregation()
        },
    }


def take_over_self_metrics() -> bool:
    """Return whether the pipeline reports on itself, and let the SDK do without its own counting.

    The SDK's counters of itself cost as much as the span they count. ``true`` is this package's
    default, and off is the SDK's: without the variable each has its own.
    """
    wanted = os.environ.get(_SELF_METRICS, "").strip().lower()
    if wanted == "true":
        del os.environ[_SELF_METRICS]
    return wanted != "false"


def _warn(text: str) -> None:
    logging.getLogger("opentelemetry.sdk._configuration").warning(text)
