"""Every attribute, metric and event that this distribution emits, and the upstream metrics its dashboards read.

This is the one place where a telemetry name stands as a string. Instrumentors, documentation, dashboards, alert rules
and tests read it from here. Names follow the OpenTelemetry semantic conventions 1.44
(https://opentelemetry.io/docs/specs/semconv/); a name of our own lies under one of :data:`OWN_ROOTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Instrument = Literal["counter", "updowncounter", "gauge", "histogram"]

OWN_ROOTS = ("job", "audit", "health", "function", "python", "otel_distro")
"""Root namespaces that the semantic conventions leave free and we use."""

_UNIT_SUFFIX = {
    "s": "seconds",
    "ms": "milliseconds",
    "By": "bytes",
    "1": "ratio",
    "Hz": "hertz",
}


@dataclass(frozen=True)
class Attribute:
    """A key of an attribute: its name, what it means and, where the set is closed, its values."""

    name: str
    brief: str
    values: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label Prometheus and Loki give the attribute."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class Metric:
    """A metric: its name, instrument, unit (UCUM) and the attributes its points may carry."""

    name: str
    instrument: Instrument
    unit: str
    brief: str
    attributes: tuple[Attribute, ...] = ()
    buckets: tuple[float, ...] = ()
    upstream: bool = False

    def series(self, part: Literal["", "bucket", "count", "sum"] = "") -> str:
        """Return the name of the series in Prometheus (translation ``UnderscoreEscapingWithSuffixes``).

        ``part`` chooses one of a histogram's three series and is refused with ``ValueError`` for other instruments.
        Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
        """
        if bool(part) != (self.instrument == "histogram"):
            raise ValueError(f"{self.name} is a {self.instrument}: part {part!r} does not fit")
        words = [self.name.replace(".", "_")]
        unit = _UNIT_SUFFIX.get(self.unit, "")
        if (
            unit
            and not (unit == "ratio" and self.instrument in ("counter", "histogram"))
            and not words[0].endswith(unit)
        ):
            words.append(unit)
        if self.instrument == "counter":
            words.append("total")
        if part:
            words.append(part)
        return "_".join(words)


@dataclass(frozen=True)
class Event:
    """An event: a log record with an event name and these attributes."""

    name: str
    brief: str
    attributes: tuple[Attribute, ...] = ()


# Attributes -----------------------------------------------------------------------------------------------------------

SERVICE_NAME = Attribute("service.name", "Name of the service.")
SERVICE_NAMESPACE = Attribute("service.namespace", "Group of services that belong together.")
SERVICE_INSTANCE_ID = Attribute("service.instance.id", "One process of the service.")
SERVICE_VERSION = Attribute("service.version", "Version of the service.")
DEPLOYMENT_ENVIRONMENT = Attribute("deployment.environment.name", "Environment the service is deployed to.")
TELEMETRY_DISTRO_NAME = Attribute("telemetry.distro.name", "Name of the distribution that sends the telemetry.")
TELEMETRY_DISTRO_VERSION = Attribute("telemetry.distro.version", "Version of that distribution.")

ERROR_TYPE = Attribute("error.type", "Class of the error the operation ended with; absent on success.")
EXCEPTION_TYPE = Attribute("exception.type", "Qualified class name of the exception.")
EXCEPTION_MESSAGE = Attribute("exception.message", "Message of the exception.")
EXCEPTION_STACKTRACE = Attribute("exception.stacktrace", "Whole stack trace with causes, as Python prints it.")
EXCEPTION_HANDLER = Attribute(
    "python.exception.handler", "The hook of the interpreter that saw the exception.", ("main", "thread", "asyncio")
)
THREAD_ID = Attribute("thread.id", "Identifier of the thread.")
THREAD_NAME = Attribute("thread.name", "Name of the thread.")
CODE_FILE_PATH = Attribute("code.file.path", "Source file of the statement.")
CODE_FUNCTION_NAME = Attribute("code.function.name", "Function the statement stands in.")
CODE_LINE_NUMBER = Attribute("code.line.number", "Line of the statement.")

PROCESS_PID = Attribute("process.pid", "Number of the process.")
CPU_MODE = Attribute("cpu.mode", "What the processor spent its time on.")
PROCESS_CONTEXT_SWITCH_TYPE = Attribute(
    "process.context_switch.type", "Why the switch happened.", ("voluntary", "involuntary")
)
DISK_IO_DIRECTION = Attribute("disk.io.direction", "Direction of the transfer.", ("read", "write"))
NETWORK_IO_DIRECTION = Attribute("network.io.direction", "Direction of the transfer.", ("transmit", "receive"))
NETWORK_INTERFACE_NAME = Attribute("network.interface.name", "Name of the network interface.")
PAGING_FAULT_TYPE = Attribute("system.paging.fault.type", "Kind of the page fault.", ("major", "minor"))
GC_GENERATION = Attribute("cpython.gc.generation", "Generation of the garbage collector.", ("0", "1", "2"))
MEMORY_STATE = Attribute("system.memory.state", "What the memory is used for.")
PAGING_STATE = Attribute("system.paging.state", "Whether the swap space is used.", ("used", "free"))
SYSTEM_DEVICE = Attribute("system.device", "Name of the device.")
FILESYSTEM_STATE = Attribute("system.filesystem.state", "Whether the space is used.", ("used", "free", "reserved"))
FILESYSTEM_TYPE = Attribute("system.filesystem.type", "Type of the file system.")
FILESYSTEM_MOUNTPOINT = Attribute("system.filesystem.mountpoint", "Where the file system is mounted.")
PROCESS_STATUS = Attribute("process.state", "State of the processes counted.")

HTTP_REQUEST_METHOD = Attribute("http.request.method", "Method of the HTTP request.")
HTTP_RESPONSE_STATUS_CODE = Attribute("http.response.status_code", "Status code of the HTTP response.")
HTTP_ROUTE = Attribute("http.route", "Route that matched the request.")
SERVER_ADDRESS = Attribute("server.address", "Host the client called.")
SERVER_PORT = Attribute("server.port", "Port the client called.")
DB_SYSTEM_NAME = Attribute("db.system.name", "Database product.")
DB_NAMESPACE = Attribute("db.namespace", "Database the statement ran in.")
DB_OPERATION_NAME = Attribute("db.operation.name", "Kind of statement.")
DB_QUERY_TEXT = Attribute("db.query.text", "Text of the statement.")
DB_STATEMENT = Attribute("db.statement", "Text of the statement, by its older name.")
URL_FULL = Attribute("url.full", "Address the client called.")
URL_QUERY = Attribute("url.query", "Query of the address the server was called by.")
HTTP_URL = Attribute("http.url", "Address the client called, by its older name.")
HTTP_TARGET = Attribute("http.target", "Path and query the server was called by, by their older name.")
PROCESS_COMMAND_ARGS = Attribute("process.command_args", "Command and arguments the process was started with.")
COMPONENT_TYPE = Attribute("otel.component.type", "Kind of the telemetry component.")
SAMPLING_RESULT = Attribute("otel.span.sampling_result", "What the sampler decided.")
COMPONENT_NAME = Attribute("otel.component.name", "Name of the telemetry component within the process.")

INSTRUMENTOR_NAME = Attribute("otel_distro.instrumentor.name", "Entry point name of the instrumentor.")
RUN_ID = Attribute(
    "otel_distro.run.id", "One run of a command under `otel-distro local`, on the resource of all its processes."
)

# Metrics of ours: errors ----------------------------------------------------------------------------------------------

PYTHON_EXCEPTIONS = Metric(
    "python.exceptions",
    "counter",
    "{exception}",
    "Exceptions that no code of the application caught.",
    (EXCEPTION_TYPE, EXCEPTION_HANDLER),
)

# Metrics of ours: process ---------------------------------------------------------------------------------------------

PROCESS_CPU_TIME = Metric("process.cpu.time", "counter", "s", "Processor time the process used.", (CPU_MODE,))
PROCESS_CPU_UTILIZATION = Metric(
    "process.cpu.utilization", "gauge", "1", "Share of all processors the process used.", (CPU_MODE,)
)
PROCESS_MEMORY_USAGE = Metric("process.memory.usage", "updowncounter", "By", "Physical memory of the process (RSS).")
PROCESS_MEMORY_VIRTUAL = Metric("process.memory.virtual", "updowncounter", "By", "Address space of the process.")
PROCESS_THREAD_COUNT = Metric("process.thread.count", "updowncounter", "{thread}", "Threads of the process.")
PROCESS_FD_COUNT = Metric(
    "process.unix.file_descriptor.count", "updowncounter", "{file_descriptor}", "Open file descriptors of the process."
)
PROCESS_CONTEXT_SWITCHES = Metric(
    "process.context_switches",
    "counter",
    "{context_switch}",
    "Context switches of the process.",
    (PROCESS_CONTEXT_SWITCH_TYPE,),
)
PROCESS_PAGING_FAULTS = Metric(
    "process.paging.faults", "counter", "{fault}", "Page faults of the process.", (PAGING_FAULT_TYPE,)
)
PROCESS_DISK_IO = Metric("process.disk.io", "counter", "By", "Bytes moved from and to storage.", (DISK_IO_DIRECTION,))
PROCESS_UPTIME = Metric("process.uptime", "gauge", "s", "Time since the process started.")
GC_COLLECTIONS = Metric(
    "cpython.gc.collections", "counter", "{collection}", "Runs of the garbage collector.", (GC_GENERATION,)
)
GC_COLLECTED = Metric(
    "cpython.gc.collected_objects", "counter", "{object}", "Objects the garbage collector freed.", (GC_GENERATION,)
)
GC_UNCOLLECTABLE = Metric(
    "cpython.gc.uncollectable_objects",
    "counter",
    "{object}",
    "Objects the garbage collector could not free.",
    (GC_GENERATION,),
)

# Metrics of ours: host ------------------------------------------------------------------------------------------------

SYSTEM_CPU_TIME = Metric("system.cpu.time", "counter", "s", "Processor time of the host, all processors.", (CPU_MODE,))
SYSTEM_CPU_UTILIZATION = Metric(
    "system.cpu.utilization", "gauge", "1", "Share of the host's processor time.", (CPU_MODE,)
)
SYSTEM_CPU_COUNT = Metric("system.cpu.logical.count", "updowncounter", "{cpu}", "Logical processors of the host.")
SYSTEM_LOAD_1M = Metric("system.cpu.load_average.1m", "gauge", "{thread}", "Load average over one minute.")
SYSTEM_LOAD_5M = Metric("system.cpu.load_average.5m", "gauge", "{thread}", "Load average over five minutes.")
SYSTEM_LOAD_15M = Metric("system.cpu.load_average.15m", "gauge", "{thread}", "Load average over fifteen minutes.")
SYSTEM_MEMORY_USAGE = Metric("system.memory.usage", "updowncounter", "By", "Memory of the host.", (MEMORY_STATE,))
SYSTEM_MEMORY_UTILIZATION = Metric(
    "system.memory.utilization", "gauge", "1", "Share of the host's memory.", (MEMORY_STATE,)
)
SYSTEM_MEMORY_LIMIT = Metric("system.memory.limit", "updowncounter", "By", "Memory the host has.")
SYSTEM_PAGING_USAGE = Metric("system.paging.usage", "updowncounter", "By", "Swap space of the host.", (PAGING_STATE,))
SYSTEM_DISK_IO = Metric(
    "system.disk.io", "counter", "By", "Bytes moved from and to disks.", (SYSTEM_DEVICE, DISK_IO_DIRECTION)
)
SYSTEM_DISK_OPERATIONS = Metric(
    "system.disk.operations", "counter", "{operation}", "Operations of disks.", (SYSTEM_DEVICE, DISK_IO_DIRECTION)
)
SYSTEM_DISK_OPERATION_TIME = Metric(
    "system.disk.operation_time", "counter", "s", "Time disks spent on operations.", (SYSTEM_DEVICE, DISK_IO_DIRECTION)
)
SYSTEM_FILESYSTEM_USAGE = Metric(
    "system.filesystem.usage",
    "updowncounter",
    "By",
    "Space of the file system.",
    (SYSTEM_DEVICE, FILESYSTEM_MOUNTPOINT, FILESYSTEM_TYPE, FILESYSTEM_STATE),
)
SYSTEM_FILESYSTEM_UTILIZATION = Metric(
    "system.filesystem.utilization",
    "gauge",
    "1",
    "Share of the file system that is used.",
    (SYSTEM_DEVICE, FILESYSTEM_MOUNTPOINT, FILESYSTEM_TYPE),
)
SYSTEM_NETWORK_IO = Metric(
    "system.network.io", "counter", "By", "Bytes sent and received.", (NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION)
)
SYSTEM_NETWORK_PACKETS = Metric(
    "system.network.packet.count",
    "counter",
    "{packet}",
    "Packets sent and received.",
    (SYSTEM_DEVICE, NETWORK_IO_DIRECTION),
)
SYSTEM_NETWORK_DROPPED = Metric(
    "system.network.packet.dropped",
    "counter",
    "{packet}",
    "Packets dropped.",
    (NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION),
)
SYSTEM_NETWORK_ERRORS = Metric(
    "system.network.errors", "counter", "{error}", "Network errors.", (NETWORK_INTERFACE_NAME, NETWORK_IO_DIRECTION)
)
SYSTEM_UPTIME = Metric("system.uptime", "gauge", "s", "Time since the host started.")

# Metrics of ours: this distribution about itself ----------------------------------------------------------------------

INSTRUMENTOR_FAILURES = Metric(
    "otel_distro.instrumentor.failures",
    "counter",
    "{failure}",
    "Instrumentors that could not be loaded; the others run.",
    (INSTRUMENTOR_NAME, ERROR_TYPE),
)

_EXPORTER = (COMPONENT_TYPE, COMPONENT_NAME, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE)
_PROCESSOR = (COMPONENT_TYPE, COMPONENT_NAME, ERROR_TYPE)
_UNITS = {
    "traces": ("span", "{span}"),
    "metrics": ("metric_data_point", "{data_point}"),
    "logs": ("log", "{log_record}"),
}

SDK_EXPORTED = {
    signal: Metric(f"otel.sdk.exporter.{item}.exported", "counter", unit, "Items whose export ended.", _EXPORTER)
    for signal, (item, unit) in _UNITS.items()
}
SDK_INFLIGHT = {
    signal: Metric(f"otel.sdk.exporter.{item}.inflight", "updowncounter", unit, "Items being sent.", _EXPORTER)
    for signal, (item, unit) in _UNITS.items()
}
SDK_EXPORT_DURATION = Metric(
    "otel.sdk.exporter.operation.duration", "histogram", "s", "Duration of a request to the collector.", _EXPORTER
)
SDK_PROCESSED = {
    signal: Metric(f"otel.sdk.processor.{item}.processed", "counter", unit, "Items that left the queue.", _PROCESSOR)
    for signal, (item, unit) in _UNITS.items()
    if signal != "metrics"
}
SDK_QUEUE_SIZE = {
    signal: Metric(f"otel.sdk.processor.{item}.queue.size", "updowncounter", unit, "Items that wait.", _PROCESSOR)
    for signal, (item, unit) in _UNITS.items()
    if signal != "metrics"
}
SDK_SPAN_STARTED = Metric(
    "otel.sdk.span.started", "counter", "{span}", "Spans that were started and sampled.", (SAMPLING_RESULT,)
)
SDK_SPAN_LIVE = Metric(
    "otel.sdk.span.live", "updowncounter", "{span}", "Sampled spans that have not ended.", (SAMPLING_RESULT,)
)
SDK_LOG_CREATED = Metric("otel.sdk.log.created", "counter", "{log_record}", "Log records that were emitted.")
SDK_QUEUE_CAPACITY = {
    signal: Metric(f"otel.sdk.processor.{item}.queue.capacity", "updowncounter", unit, "Room for items.", _PROCESSOR)
    for signal, (item, unit) in _UNITS.items()
    if signal != "metrics"
}

# Metrics of upstream that dashboards read -----------------------------------------------------------------------------

_HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

HTTP_SERVER_DURATION = Metric(
    "http.server.request.duration",
    "histogram",
    "s",
    "Duration of HTTP server requests.",
    (HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, ERROR_TYPE),
    buckets=_HTTP_BUCKETS,
    upstream=True,
)
HTTP_SERVER_ACTIVE = Metric(
    "http.server.active_requests",
    "updowncounter",
    "{request}",
    "HTTP requests being served.",
    (HTTP_REQUEST_METHOD,),
    upstream=True,
)
HTTP_CLIENT_DURATION = Metric(
    "http.client.request.duration",
    "histogram",
    "s",
    "Duration of HTTP client requests.",
    (HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE),
    buckets=_HTTP_BUCKETS,
    upstream=True,
)
DB_CLIENT_DURATION = Metric(
    "db.client.operation.duration",
    "histogram",
    "s",
    "Duration of database operations.",
    (DB_SYSTEM_NAME, DB_NAMESPACE, DB_OPERATION_NAME, SERVER_ADDRESS, ERROR_TYPE),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
    upstream=True,
)

# Events ---------------------------------------------------------------------------------------------------------------

EXCEPTION = Event(
    "exception",
    "An exception that no code of the application caught.",
    (EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_HANDLER, THREAD_ID, THREAD_NAME),
)


def metrics(*, upstream: bool = False) -> tuple[Metric, ...]:
    """Return the metrics we emit, or with ``upstream=True`` those of upstream that dashboards read."""
    declared: list[Metric] = []
    for value in globals().values():
        found = value.values() if isinstance(value, dict) else (value,)
        declared.extend(m for m in found if isinstance(m, Metric) and m.upstream is upstream)
    return tuple(declared)


def events() -> tuple[Event, ...]:
    """Return the events we emit."""
    return tuple(e for e in globals().values() if isinstance(e, Event))


def attributes() -> tuple[Attribute, ...]:
    """Return every declared attribute."""
    return tuple(a for a in globals().values() if isinstance(a, Attribute))
