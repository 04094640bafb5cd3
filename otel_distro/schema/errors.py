"""Errors and exceptions."""

from __future__ import annotations

from otel_distro.schema.attributes import (
    CODE_FILE_PATH,
    CODE_FUNCTION_NAME,
    CODE_LINE_NUMBER,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    PROCESS_PID,
    THREAD_ID,
    THREAD_NAME,
)
from otel_distro.schema.kinds import Attribute, Event, Metric
from otel_distro.schema.logs import LOG_DUPLICATES

EXCEPTION_HANDLER = Attribute(
    "python.exception.handler",
    "What reported the exception: a hook of the interpreter, a log call, a span, the API of this package.",
    (
        "main",
        "thread",
        "asyncio",
        "unraisable",
        "process",
        "executor",
        "cell",
        "log",
        "span",
        "warning",
        "crash",
        "swallowed",
        "capture",
    ),
)
EXCEPTION_HANDLED = Attribute(
    "python.exception.handled", "Whether code of the application caught it.", ("true", "false")
)
EXCEPTION_FINGERPRINT = Attribute(
    "python.exception.fingerprint", "Equal for all exceptions of a type from one place, across deploys."
)
EXCEPTION_FIRST_SEEN = Attribute(
    "python.exception.first_seen", "True on the first exception of its fingerprint in this version of the service."
)
EXCEPTION_CAUGHT_IN = Attribute("python.exception.caught_in", "Function that caught the exception.")
EXCEPTION_SECTION = Attribute("python.exception.section", "Name of the captured section of code.")
EXCEPTION_LOCALS = Attribute(
    "python.exception.local_variables", "Local variables of the application's own frames, redacted and bounded."
)
EXCEPTION_ANSWER = Attribute(
    "python.exception.answer",
    "True on a log line whose exception is no error: a response below 500, a normal end, a cancellation.",
)
ASYNCIO_TASK_NAME = Attribute("python.asyncio.task.name", "Name of the asyncio task.")

CELL_EXECUTION_COUNT = Attribute(
    "python.cell.execution_count", "Number of the cell of IPython or Jupyter, as `In [n]` shows it."
)
CELL_ID = Attribute("python.cell.id", "Id of the cell in its notebook.")

PYTHON_EXCEPTIONS = Metric(
    "python.exceptions",
    "counter",
    "{exception}",
    "Exceptions, each counted once.",
    (EXCEPTION_TYPE, EXCEPTION_FINGERPRINT, EXCEPTION_HANDLED, EXCEPTION_HANDLER),
)
PYTHON_EXCEPTION_FIRST_SEEN = Metric(
    "python.exception.first_seen",
    "counter",
    "{exception}",
    "Fingerprints that occurred for the first time in this version of the service.",
    (EXCEPTION_TYPE, EXCEPTION_FINGERPRINT),
)

EXCEPTION = Event(
    "exception",
    "An exception, recorded once.",
    (
        EXCEPTION_TYPE,
        EXCEPTION_MESSAGE,
        EXCEPTION_STACKTRACE,
        EXCEPTION_HANDLER,
        EXCEPTION_HANDLED,
        EXCEPTION_FINGERPRINT,
        EXCEPTION_FIRST_SEEN,
        EXCEPTION_CAUGHT_IN,
        EXCEPTION_SECTION,
        EXCEPTION_LOCALS,
        EXCEPTION_ANSWER,
        CODE_FUNCTION_NAME,
        CODE_FILE_PATH,
        CODE_LINE_NUMBER,
        CELL_EXECUTION_COUNT,
        CELL_ID,
        THREAD_ID,
        THREAD_NAME,
        ASYNCIO_TASK_NAME,
        PROCESS_PID,
        LOG_DUPLICATES,
    ),
)
WARNING = Event(
    "python.warning",
    "A warning that the module warnings displayed.",
    (
        EXCEPTION_TYPE,
        EXCEPTION_MESSAGE,
        EXCEPTION_HANDLER,
        CODE_FILE_PATH,
        CODE_LINE_NUMBER,
        LOG_DUPLICATES,
    ),
)
