"""Requirements of a patch on OpenTelemetry, and real SDK objects on which a probe checks them.

Nothing of OpenTelemetry is imported before a probe runs.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from typing import Any, ClassVar


class Samples:
    """Real objects of the SDK, each made when the first probe asks for it.

    Their providers have no exporter and register nothing to be called at exit.
    """

    private: ClassVar[dict[str, tuple[str, ...]]] = {
        "consumer": ("_collect",),
        "observable": ("_collect", "_async_instruments"),
        "storage": ("_collect", "_reader_storages"),
        "match": ("_collect", "_reader_storages", "_instrument_view_instrument_matches"),
        "series": (
            "_collect",
            "_reader_storages",
            "_instrument_view_instrument_matches",
            "_attributes_aggregation",
        ),
        "histogram": (
            "_collect",
            "_reader_storages",
            "_instrument_view_instrument_matches",
            "_attributes_aggregation",
        ),
        "exponential": (
            "_collect",
            "_reader_storages",
            "_instrument_view_instrument_matches",
            "_attributes_aggregation",
        ),
    }
    """Private names that lead to a sample: without them it cannot be made."""

    @cached_property
    def tracer(self) -> Any:
        """A tracer that samples every span."""
        return self.tracer_provider.get_tracer("otel_distro.probe")

    @cached_property
    def tracer_provider(self) -> Any:
        """A provider of traces."""
        from opentelemetry.metrics import NoOpMeterProvider
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        return TracerProvider(
            ALWAYS_ON, Resource.get_empty(), shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
        )

    @cached_property
    def span(self) -> Any:
        """A span that was started and has not ended."""
        from opentelemetry.context import Context

        # Not through an attribute of the tracer's class that the package has replaced already.
        start = inspect.unwrap(type(self.tracer).start_span)
        return start(self.tracer, "probe", Context(), attributes={"probe": 1})

    @cached_property
    def ended_span(self) -> Any:
        """A ``ReadableSpan``."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan

        return ReadableSpan("probe", resource=Resource.get_empty())

    @cached_property
    def attributes(self) -> Any:
        """The attributes of a span."""
        from opentelemetry.attributes import BoundedAttributes

        return BoundedAttributes(1, {"probe": 1}, immutable=False)

    @cached_property
    def runtime_context(self) -> Any:
        """The object that holds the current context by default."""
        from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

        return ContextVarsRuntimeContext()

    @cached_property
    def sampler(self) -> Any:
        """The SDK's default sampler."""
        from opentelemetry.sdk.trace.sampling import DEFAULT_ON

        return DEFAULT_ON

    @cached_property
    def span_processors(self) -> Any:
        """The processor that passes spans on to all others."""
        from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor

        return SynchronousMultiSpanProcessor()

    @cached_property
    def logger(self) -> Any:
        """A logger of the SDK."""
        return self.logger_provider.get_logger("otel_distro.probe")

    @cached_property
    def logger_provider(self) -> Any:
        """A provider of logs."""
        from opentelemetry.metrics import NoOpMeterProvider
        from opentelemetry.sdk.resources import Resource

        from otel_distro._otel import logs

        return logs.LoggerProvider(Resource.get_empty(), shutdown_on_exit=False, meter_provider=NoOpMeterProvider())

    @cached_property
    def log_processors(self) -> Any:
        """The processor that passes log records on to all others."""
        from otel_distro._otel import logs

        return logs.SynchronousMultiLogRecordProcessor()

    @cached_property
    def reader(self) -> Any:
        """The metric reader of :attr:`meter_provider`."""
        return self._metrics[0]

    @cached_property
    def meter_provider(self) -> Any:
        """A provider with a counter, two histograms, a gauge and one that is observed."""
        return self._metrics[1]

    @cached_property
    def _metrics(self) -> tuple[Any, Any]:
        from opentelemetry.metrics import Observation
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
        from opentelemetry.sdk.resources import Resource

        views = [View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())]
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], Resource.get_empty(), shutdown_on_exit=False, views=views)
        meter = provider.get_meter("otel_distro.probe")
        meter.create_counter("counter").add(2, {"probe": 1})
        meter.create_histogram("histogram").record(3, {"probe": 1})
        meter.create_histogram("exponential").record(4, {"probe": 1})
        meter.create_gauge("level").set(5, {"probe": 1})
        meter.create_observable_gauge("gauge", [lambda _: [Observation(1)]])
        return reader, provider

    @cached_property
    def counter(self) -> Any:
        """The counter of :attr:`meter_provider`: one of the same name is the same."""
        return self.meter_provider.get_meter("otel_distro.probe").create_counter("counter")

    @cached_property
    def consumer(self) -> Any:
        """The SDK object that receives every measurement of :attr:`meter_provider`."""
        return self.reader._collect.__self__

    @cached_property
    def observable(self) -> Any:
        """An instrument with a callback."""
        return self.consumer._async_instruments[-1]

    @cached_property
    def storage(self) -> Any:
        """The series that the SDK keeps for :attr:`reader`."""
        return self.consumer._reader_storages[self.reader]

    @cached_property
    def matches(self) -> dict[str, Any]:
        """The series of each instrument of the sample, by its name."""
        all_matches = self.storage._instrument_view_instrument_matches
        return {instrument.name: found[0] for instrument, found in all_matches.items()}

    @cached_property
    def match(self) -> Any:
        """The series of the counter."""
        return self.matches["counter"]

    @cached_property
    def series(self) -> Any:
        """The one series of the counter."""
        (series,) = self.match._attributes_aggregation.values()
        return series

    @cached_property
    def histogram(self) -> Any:
        """The one series of the histogram with fixed boundaries."""
        (series,) = self.matches["histogram"]._attributes_aggregation.values()
        return series

    @cached_property
    def exponential(self) -> Any:
        """The one series of the exponential histogram."""
        (series,) = self.matches["exponential"]._attributes_aggregation.values()
        return series


class Need:
    """One thing that a patch needs."""

    def missing(self, samples: Samples) -> str:
        """Return what is missing, empty where all is there."""
        raise NotImplementedError


def find(path: str) -> Any:
    """Return what ``module:qualified.name`` names. Raises ``ImportError`` or ``AttributeError``."""
    module, _, name = path.partition(":")
    return attrgetter(name)(import_module(module))


@dataclass(frozen=True)
class Name(Need):
    """A name in a module or a class, as ``module:qualified.name``."""

    path: str

    def missing(self, samples: Samples) -> str:
        """Return what is missing, empty where all is there."""
        try:
            find(self.path)
        except (ImportError, AttributeError):
            return self.path
        return ""


@dataclass(frozen=True)
class Parameters(Need):
    """The parameters of a function, in their order; ``some``: others may be there besides."""

    path: str
    names: tuple[str, ...]
    some: bool = False

    def missing(self, samples: Samples) -> str:
        """Return what is missing, empty where all is there."""
        try:
            code = inspect.unwrap(find(self.path)).__code__
        except (ImportError, AttributeError):
            return self.path
        found = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if (set(self.names) <= set(found)) if self.some else found == self.names:
            return ""
        return f"{self.path}({', '.join(self.names)})"


@dataclass(frozen=True)
class Fields(Need):
    """Attributes of a real object, one of :class:`Samples`.

    ``optional`` ones are read with a default and are not probed.
    """

    sample: str
    names: tuple[str, ...]
    optional: tuple[str, ...] = ()

    def missing(self, samples: Samples) -> str:
        """Return what is missing, empty where all is there."""
        try:
            value = getattr(samples, self.sample)
        except Exception as error:
            return f"{self.sample} ({type(error).__name__}: {error})"
        for name in self.names:
            try:
                attrgetter(name)(value)
            except AttributeError:
                return f"{type(value).__name__}.{name}"
        return ""
