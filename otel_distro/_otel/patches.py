"""Every place where the package depends on private parts of OpenTelemetry or replaces public ones.

Each is one :class:`Patch`: what it needs, which is checked on real objects of the SDK, and what the
process does without it. A patch whose probe fails is off and prints one line; everything else runs.
docs/patches.md is the table for readers; a test compares it with :data:`PATCHES`.
"""

from __future__ import annotations

from otel_distro._otel.metric_patches import (
    CARDINALITY,
    COUNTER_RESET,
    FAST_INSTRUMENTS,
    FAST_MEASUREMENTS,
    METRIC_PARTS,
    SNAPSHOTS,
)
from otel_distro._otel.needs import Fields, Name, Parameters
from otel_distro._otel.patch import Patch

_TRACE = "opentelemetry.sdk.trace"
_METRICS = "opentelemetry.sdk.metrics._internal"
_SPAN_PARAMETERS = (
    "self", "name", "context", "kind", "attributes", "links", "start_time", "record_exception",
    "set_status_on_exception",
)  # fmt: skip
FIELDS_OF_SPAN = (
    "_context", "_parent", "_name", "_kind", "_start_time", "_end_time", "_attributes", "_events", "_links",
    "_status", "_resource", "_instrumentation_scope",
)  # fmt: skip
"""Fields of a span of the SDK, in the order in which :mod:`otel_distro._otel.sdk` returns them."""

LOGS = Patch(
    "the logs signal",
    "otel_distro/_otel/logs.py",
    "The API and the SDK of logs are public classes in modules that are still named with an underscore.",
    (),
    "No log record is exported; traces and metrics are.",
    "None until upstream renames the modules; those names are tried as well.",
    verify="otel_distro._otel.logs:verify",
)
ENTRY_POINTS = Patch(
    "the shared list of entry points",
    "otel_distro/_otel/components.py",
    "OpenTelemetry keeps the entry points of all installed packages; reading them takes 10 ms and more.",
    (Name("opentelemetry.util._importlib_metadata:entry_points"),),
    "The metadata of all installed packages are read a second time, and the start is slower.",
    "`importlib.metadata`, which is the fallback.",
)
SPAN_FIELDS = Patch(
    "direct reading of span fields",
    "otel_distro/_otel/sdk.py",
    "The public properties of a span copy what they return and cost seven times as much.",
    (Name(f"{_TRACE}:_Span"), Fields("span", FIELDS_OF_SPAN), Fields("ended_span", FIELDS_OF_SPAN)),
    "Spans are read through their public properties, which is slower.",
    "The properties of `ReadableSpan`, which are the fallback.",
)
FAST_SPAN_START = Patch(
    "the fast start of spans",
    "otel_distro/_otel/fast_spans.py",
    "A span without links, with an always-on sampler, is built directly: a third of the SDK's cost.",
    (
        Parameters(f"{_TRACE}:Tracer.start_span", _SPAN_PARAMETERS),
        Name(f"{_TRACE}:_Span"),
        Name(f"{_TRACE}._tracer_metrics:NoOpTracerMetrics"),
        Name(f"{_TRACE}._tracer_metrics:noop"),
        Name(f"{_TRACE}.sampling:_AlwaysOn"),
        Name(f"{_TRACE}.sampling:_ParentBasedAlwaysOn"),
        Name(f"{_TRACE}.sampling:_ParentBasedAlwaysOff"),
        Fields("sampler", ("_root._decision", "_local_parent_sampled._decision")),
        Fields(
            "tracer",
            ("_tracer_config.is_enabled", "_tracer_metrics", "_span_limits", "_instrumentation_scope"),
        ),
        Fields(
            "span",
            (
                *FIELDS_OF_SPAN,
                "_instrumentation_info",
                "_sampler",
                "_trace_config",
                "_span_processor",
                "_limits",
                "_lock",
                "_record_exception",
                "_set_status_on_exception",
                "_record_end_metrics",
                "_events._dq",
                "_events._lock",
            ),
        ),
        Fields("span_processors", ("_span_processors",)),
        Fields("attributes", ("_dict", "_lock", "_set_items", "_immutable")),
    ),
    "Spans start the SDK's way, which is slower.",
    "None.",
    verify="otel_distro._otel.fast_spans:verify",
)
FAST_SPAN_END = Patch(
    "the fast end of spans",
    "otel_distro/_otel/fast_spans.py",
    "The ended span itself goes into the queue; the SDK makes a copy for its processors.",
    (
        Parameters(f"{_TRACE}:Span.end", ("self", "end_time")),
        Fields(
            "span",
            (
                "_span_processor",
                "_record_end_metrics",
                "_lock",
                "_start_time",
                "_end_time",
                "_context",
                "_attributes._immutable",
                "_attributes._dict",
            ),
        ),
        Fields("span_processors", ("_span_processors",)),
        Name(f"{_TRACE}._tracer_metrics:noop"),
    ),
    "Spans end the SDK's way, which is slower.",
    "`TracerProvider(active_span_processor=...)` gets the copy.",
)
FAST_SET_ATTRIBUTE = Patch(
    "the fast setting of span attributes",
    "otel_distro/_otel/fast_spans.py",
    "A value of a plain type needs no cleaning; one that is set already needs nothing.",
    (
        Parameters(f"{_TRACE}:Span.set_attribute", ("self", "key", "value")),
        Fields("span", ("_attributes", "_end_time", "_lock")),
        Fields("attributes", ("_dict", "maxlen", "max_value_len")),
    ),
    "Attributes are set the SDK's way, which is slower.",
    "None.",
    verify="otel_distro._otel.fast_measurements:verify_plain",
)
FAST_CURRENT_SPAN = Patch(
    "the fast `start_as_current_span`",
    "otel_distro/_otel/current_span.py",
    "A class with `__enter__` and `__exit__` costs half of a generator.",
    (Parameters(f"{_TRACE}:Tracer.start_as_current_span", (*_SPAN_PARAMETERS, "end_on_exit")),),
    "Spans are made current the SDK's way, which is slower.",
    "None.",
)
FAST_CONTEXT = Patch(
    "the context variable read directly",
    "otel_distro/_otel/current_span.py",
    "The API passes through two functions each time that it reads, sets or resets the current context.",
    (Name("opentelemetry.context:_RUNTIME_CONTEXT"), Fields("runtime_context", ("_current_context",))),
    "A span reads and sets the current context through the API, which is slower.",
    "`get_current`, `attach` and `detach`, which are the fallback, and are used with `OTEL_PYTHON_CONTEXT`.",
)
FAST_EVENTS = Patch(
    "the fast adding of exception events",
    "otel_distro/_otel/span_events.py",
    "The SDK cleans each attribute of an event; those of an exception are clean.",
    (
        Parameters(f"{_TRACE}:Span.add_event", ("self", "name", "attributes", "timestamp")),
        Fields("span", ("_limits", "_lock", "_end_time", "_events")),
        Fields("attributes", ("_dict", "_lock", "_immutable")),
    ),
    "Exceptions are added to spans the SDK's way, which is slower.",
    "`Span.add_event`, which is the fallback.",
    verify="otel_distro._otel.span_parts:verify",
)
SAFE_API = Patch(
    "the API that never raises",
    "otel_distro/_otel/safe_api.py",
    "19 public methods of the SDK raise into the application for hostile values; the specification forbids it.",
    (
        Name(f"{_TRACE}:Span.set_attribute"),
        Name("opentelemetry.sdk.metrics:Counter.add"),
        Name("opentelemetry.sdk.metrics:Meter.create_counter"),
    ),
    "A call of the API with a hostile value may raise into the application, as with the plain SDK.",
    "None; the specification demands it of the SDK.",
)
SPAN_EXCEPTIONS = Patch(
    "exception details on spans",
    "otel_distro/errors/sources/spans.py",
    "The event of `Span.record_exception` has the redacted stack trace, the exception remembers its span, "
    "and one that is no error does not make its span one.",
    (Parameters(f"{_TRACE}:Span.record_exception", ("self", "exception", "attributes", "timestamp", "escaped")),),
    "Exceptions on spans have the SDK's event, also those that are no errors, and one that leaves a span and is caught "
    "has no record.",
    "None.",
)
FAST_LOGS = Patch(
    "the fast path of log records",
    "otel_distro/_otel/sdk.py",
    "A record goes into the queue without the SDK's copies, where no other processor would see it.",
    (
        Fields(
            "logger",
            ("_multi_log_record_processor._log_record_processors", "_logger_config.is_enabled", "_resource"),
            optional=("_log_record_limits",),
        ),
    ),
    "Log records are emitted the SDK's way, which is slower.",
    "`Logger.emit`, which is the fallback.",
    part_of=LOGS,
)
LOG_ORDER = Patch(
    "the order of log processors",
    "otel_distro/_otel/sdk.py",
    "A processor that the application adds later runs before the queue, so that its changes are exported.",
    (Fields("log_processors", ("_log_record_processors", "_lock")),),
    "What a log processor that is added later changes in a record is not exported.",
    "`LoggerProvider(multi_log_record_processor=...)` takes the distribution's class; what it holds is private.",
    part_of=LOGS,
)
FORK_RESOURCE = Patch(
    "the instance id of forked children",
    "otel_distro/_otel/sdk.py",
    "A child of a process with a chosen `service.instance.id` keeps it with its process id added.",
    (
        Parameters(f"{_TRACE}:TracerProvider._update_resource", ("self", "resource")),
        Parameters(f"{_METRICS}:MeterProvider._update_resource", ("self", "resource")),
        Fields("logger_provider", ("_update_resource",)),
    ),
    "A forked child has a random `service.instance.id`.",
    "None.",
)
DETECTORS = Patch(
    "resource detectors without threads",
    "otel_distro/_otel/sdk.py",
    "The SDK asks its detectors in threads again in each forked child, where gevent may switch in the middle.",
    (Parameters("opentelemetry.sdk.resources:get_aggregated_resources", ("detectors", "initial_resource", "timeout")),),
    "The SDK starts threads for its resource detectors in every forked child.",
    "At the start the resource is built by `ResourceDetector.detect()`; for forked children no public way exists.",
)
SCOPE_CONFIGURATORS = Patch(
    "OTEL_PYTHON_*_CONFIGURATOR",
    "otel_distro/_otel/components.py",
    "The constructors of the providers take the configurators by private parameters.",
    (
        Parameters(f"{_TRACE}:TracerProvider.__init__", ("_tracer_configurator",), some=True),
        Parameters(f"{_METRICS}:MeterProvider.__init__", ("_meter_configurator",), some=True),
        Parameters("opentelemetry.sdk._logs:LoggerProvider.__init__", ("_logger_configurator",), some=True),
    ),
    "The variables are ignored: every tracer, meter and logger is enabled.",
    "None.",
    lazy=True,
)
TEST_PROVIDERS = Patch(
    "providers for one test",
    "otel_distro/_otel/global_providers.py",
    "`otel_distro.testing` puts other providers in place for a test; OpenTelemetry sets them once.",
    (
        Name("opentelemetry.trace:_TRACER_PROVIDER_SET_ONCE"),
        Name("opentelemetry.metrics:_internal._METER_PROVIDER_SET_ONCE"),
        Name("opentelemetry.metrics:_internal._PROXY_METER_PROVIDER"),
        Name("opentelemetry._logs:_internal._LOGGER_PROVIDER_SET_ONCE"),
        Name("opentelemetry.trace:ProxyTracer._tracer"),
        Name("opentelemetry._logs:_internal.ProxyLogger._logger"),
    ),
    "The fixture `telemetry` sees only what is recorded through the providers of the first test.",
    "None.",
    lazy=True,
)

PATCHES = (
    LOGS,
    ENTRY_POINTS,
    SPAN_FIELDS,
    FAST_SPAN_START,
    FAST_SPAN_END,
    FAST_SET_ATTRIBUTE,
    FAST_CURRENT_SPAN,
    FAST_CONTEXT,
    FAST_EVENTS,
    SAFE_API,
    SPAN_EXCEPTIONS,
    FAST_LOGS,
    LOG_ORDER,
    METRIC_PARTS,
    SNAPSHOTS,
    COUNTER_RESET,
    FORK_RESOURCE,
    DETECTORS,
    CARDINALITY,
    FAST_MEASUREMENTS,
    FAST_INSTRUMENTS,
    SCOPE_CONFIGURATORS,
    TEST_PROVIDERS,
)
