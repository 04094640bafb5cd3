"""The attributes that several areas share."""

from __future__ import annotations

from otel_distro.schema.kinds import Attribute

SERVICE_NAME = Attribute("service.name", "Name of the service.")
SERVICE_NAMESPACE = Attribute("service.namespace", "Group of services that belong together.")
SERVICE_INSTANCE_ID = Attribute("service.instance.id", "One process of the service.")
SERVICE_VERSION = Attribute("service.version", "Version of the service.")
DEPLOYMENT_ENVIRONMENT = Attribute("deployment.environment.name", "Environment the service is deployed to.")
TELEMETRY_DISTRO_NAME = Attribute("telemetry.distro.name", "Name of the distribution that sends the telemetry.")
TELEMETRY_DISTRO_VERSION = Attribute("telemetry.distro.version", "Version of that distribution.")

METRIC_OVERFLOW = Attribute(
    "otel.metric.overflow", "Marks the series that aggregates everything beyond the limit of series."
)
ERROR_TYPE = Attribute("error.type", "Class of the error the operation ended with; absent on success.")
EXCEPTION_TYPE = Attribute("exception.type", "Qualified class name of the exception.")
EXCEPTION_MESSAGE = Attribute("exception.message", "Message of the exception.")
EXCEPTION_STACKTRACE = Attribute("exception.stacktrace", "Whole stack trace with causes, as Python prints it.")
THREAD_ID = Attribute("thread.id", "Identifier of the thread.")
THREAD_NAME = Attribute("thread.name", "Name of the thread.")
CODE_FILE_PATH = Attribute("code.file.path", "Source file of the statement.")
CODE_FUNCTION_NAME = Attribute("code.function.name", "Function that contains the statement.")
CODE_LINE_NUMBER = Attribute("code.line.number", "Line of the statement.")

PROCESS_PID = Attribute("process.pid", "Number of the process.")
CPU_MODE = Attribute("cpu.mode", "Mode in which the processor spent the time.")
PROCESS_CONTEXT_SWITCH_TYPE = Attribute(
    "process.context_switch.type", "Why the switch happened.", ("voluntary", "involuntary")
)
DISK_IO_DIRECTION = Attribute("disk.io.direction", "Direction of the transfer.", ("read", "write"))
NETWORK_IO_DIRECTION = Attribute("network.io.direction", "Direction of the transfer.", ("transmit", "receive"))
NETWORK_INTERFACE_NAME = Attribute("network.interface.name", "Name of the network interface.")
PAGING_FAULT_TYPE = Attribute("system.paging.fault.type", "Kind of the page fault.", ("major", "minor"))
GC_GENERATION = Attribute("cpython.gc.generation", "Generation of the garbage collector.", ("0", "1", "2"))
MEMORY_STATE = Attribute("system.memory.state", "Use of the memory.")
PAGING_STATE = Attribute("system.paging.state", "Whether the swap space is used.", ("used", "free"))
SYSTEM_DEVICE = Attribute("system.device", "Name of the device.")
FILESYSTEM_STATE = Attribute("system.filesystem.state", "Whether the space is used.", ("used", "free", "reserved"))
FILESYSTEM_TYPE = Attribute("system.filesystem.type", "Type of the file system.")
FILESYSTEM_MOUNTPOINT = Attribute("system.filesystem.mountpoint", "Mount point of the file system.")
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
URL_FULL = Attribute("url.full", "URL the client called.")
URL_QUERY = Attribute("url.query", "Query of the URL the server was called by.")
HTTP_URL = Attribute("http.url", "URL the client called, by its older name.")
HTTP_TARGET = Attribute("http.target", "Path and query of a server request, by their older name.")
PROCESS_COMMAND_ARGS = Attribute("process.command_args", "Command and arguments the process was started with.")
COMPONENT_TYPE = Attribute("otel.component.type", "Kind of the telemetry component.")
SAMPLING_RESULT = Attribute("otel.span.sampling_result", "Decision of the sampler.")
COMPONENT_NAME = Attribute("otel.component.name", "Name of the telemetry component within the process.")

INSTRUMENTOR_NAME = Attribute("otel_distro.instrumentor.name", "Entry point name of the instrumentor.")
RUN_ID = Attribute(
    "otel_distro.run.id", "One run of a command under `otel-distro local`, on the resource of all its processes."
)

FILE_PATH = Attribute("file.path", "Path of the file.")
CLIENT_ADDRESS = Attribute("client.address", "Address of the client, without its port.")
USER_ID = Attribute("user.id", "Identifier of the user.")
URL_PATH = Attribute("url.path", "Path of the URL.")
