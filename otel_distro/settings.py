"""Every environment variable that this distribution adds to OpenTelemetry's own.

Documentation, ``otel-distro settings`` and the check at start-up read this table. The module is
registered under the entry point group ``opentelemetry_environment_variables``, and each constant
has the name of its variable, so each is a flag of ``opentelemetry-instrument`` too:
``--distro_exit_timeout 5`` sets ``OTEL_DISTRO_EXIT_TIMEOUT``.

Imported at the start of every instrumented process, so it needs only :mod:`os`.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Generic, Literal, TypeVar

    Kind = Literal["bool", "int", "float", "str", "choice"]
    Value = TypeVar("Value", bound="bool | int | float | str")
else:
    # Only type checkers need the value's type; importing `typing` would add milliseconds to every
    # process.
    Value, Generic = None, {None: object}


class Setting(Generic[Value]):
    """An environment variable: its name, kind, default and help.

    Kinds: ``bool`` (only ``true``, in any case, is true, as the specification requires), ``int``
    (0 or more), ``float`` (seconds, 0 or more), ``str`` and ``choice`` (one of ``choices``, in any
    case).
    https://opentelemetry.io/docs/specs/otel/configuration/common/
    """

    __slots__ = ("choices", "default", "help", "kind", "name")

    def __init__(self, name: str, kind: "Kind", default: "Value", help: str, choices: "tuple[str, ...]" = ()) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.help = help
        self.choices = choices

    def get(self, environ: "Mapping[str, str] | None" = None) -> "Value":
        """Return the value in ``environ`` (default: the process's), or the default.

        The default applies where the variable is unset or its value is bad.
        """
        text = (os.environ if environ is None else environ).get(self.name, "").strip()
        try:
            return self.parse(text) if text else self.default
        except ValueError:
            return self.default

    def is_set(self, environ: "Mapping[str, str] | None" = None) -> bool:
        """Return whether ``environ`` (default: the process's) holds a value, valid or not."""
        return bool((os.environ if environ is None else environ).get(self.name, "").strip())

    def parse(self, text: str) -> "Value":
        """Return the value that ``text`` stands for.

        Raises:
            ValueError: The text is not valid; the message says what is expected.
        """
        value: Value = _PARSERS[self.kind](self, text.strip())
        return value


def _boolean(_: "Setting[Any]", text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is not true or false")
    return text.lower() == "true"


def _whole(_: "Setting[Any]", text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError("is not a whole number of 0 or more")
    return number


def _seconds(_: "Setting[Any]", text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError("is not a number of seconds of 0 or more")
    return number


def _text(_: "Setting[Any]", text: str) -> str:
    return text


def _choice(setting: "Setting[Any]", text: str) -> str:
    if text.lower() not in setting.choices:
        raise ValueError(f"is not one of {', '.join(setting.choices)}")
    return text.lower()


_PARSERS: "dict[str, Callable[[Setting[Any], str], Any]]" = {
    "bool": _boolean,
    "int": _whole,
    "float": _seconds,
    "str": _text,
    "choice": _choice,
}

OTEL_DISTRO_HOST_METRICS = Setting(
    "OTEL_DISTRO_HOST_METRICS",
    "choice",
    "auto",
    "Host metrics: auto sends them from one process per host, true from this process, false from none.",
    ("auto", "true", "false"),
)
OTEL_DISTRO_PROCESS_METRICS_DELAY = Setting(
    "OTEL_DISTRO_PROCESS_METRICS_DELAY",
    "float",
    2.0,
    "Seconds that a process without other telemetry must live before its process metrics are sent.",
)
OTEL_DISTRO_EXIT_TIMEOUT = Setting(
    "OTEL_DISTRO_EXIT_TIMEOUT",
    "float",
    2.0,
    "Maximum seconds for sending the remaining telemetry at exit, all signals together. While it is "
    "unset, a reachable collector that is known to respond more slowly gets up to 4.5 seconds, and a start of "
    "telemetry that is still in progress up to 10.",
)
OTEL_DISTRO_DIAGNOSTICS = Setting(
    "OTEL_DISTRO_DIAGNOSTICS",
    "choice",
    "on",
    "Whether the distribution writes its own messages, single lines on stderr.",
    ("on", "off"),
)
OTEL_DISTRO_SPOOL = Setting(
    "OTEL_DISTRO_SPOOL",
    "choice",
    "on",
    "Where telemetry waits for the collector: on disk, where it survives the process (on), or in memory only (off).",
    ("on", "off"),
)
OTEL_DISTRO_SPOOL_MAX_BYTES = Setting(
    "OTEL_DISTRO_SPOOL_MAX_BYTES",
    "int",
    256 * 1024 * 1024,
    "Maximum spool size per destination in bytes, shared by all processes; the oldest data is dropped "
    "first. 0 disables the spool.",
)
OTEL_DISTRO_SPOOL_MAX_AGE = Setting(
    "OTEL_DISTRO_SPOOL_MAX_AGE",
    "float",
    48 * 3600.0,
    "Maximum age in seconds of telemetry in the spool; older data is dropped. 0 disables the limit.",
)
OTEL_DISTRO_SPOOL_FSYNC = Setting(
    "OTEL_DISTRO_SPOOL_FSYNC",
    "bool",
    False,
    "Whether each write to the spool is flushed to the disk (fsync): survives a power failure, costs milliseconds.",
)
OTEL_DISTRO_CARDINALITY_LIMIT = Setting(
    "OTEL_DISTRO_CARDINALITY_LIMIT",
    "int",
    2000,
    "Maximum number of series per instrument; further attribute sets are aggregated into one overflow "
    "series. 0 disables the limit.",
)
OTEL_DISTRO_REDACT = Setting(
    "OTEL_DISTRO_REDACT",
    "choice",
    "on",
    "Whether secrets are hidden in all exported telemetry.",
    ("on", "off"),
)
OTEL_DISTRO_REDACT_KEYS = Setting(
    "OTEL_DISTRO_REDACT_KEYS",
    "str",
    "",
    "Further keys whose values are hidden, separated by commas; x_code also matches xCode and X-Code.",
)
OTEL_DISTRO_REDACT_KEEP_KEYS = Setting(
    "OTEL_DISTRO_REDACT_KEEP_KEYS",
    "str",
    "",
    "Keys whose values are never hidden, separated by commas.",
)
OTEL_DISTRO_REDACT_PATTERNS = Setting(
    "OTEL_DISTRO_REDACT_PATTERNS",
    "str",
    "",
    r"Further regular expressions, separated by spaces (\s matches one): their match, or its first "
    r"group, is hidden.",
)
OTEL_DISTRO_REDACT_EMAIL = Setting(
    "OTEL_DISTRO_REDACT_EMAIL",
    "bool",
    False,
    "Whether e-mail addresses are hidden too.",
)
OTEL_DISTRO_LOG_FILE = Setting(
    "OTEL_DISTRO_LOG_FILE",
    "str",
    "",
    "File to which log records and events are also written, as lines of JSON; needs no collector and no exporter.",
)
OTEL_DISTRO_LOG_FILE_MAX_BYTES = Setting(
    "OTEL_DISTRO_LOG_FILE_MAX_BYTES",
    "int",
    16 * 1024 * 1024,
    "Size in bytes at which the log file is rotated and compressed; 0 disables the limit.",
)
OTEL_DISTRO_LOG_FILE_MAX_AGE = Setting(
    "OTEL_DISTRO_LOG_FILE_MAX_AGE",
    "float",
    24 * 3600.0,
    "Seconds after its first line at which the log file is rotated and compressed; 0 disables the limit.",
)
OTEL_DISTRO_LOG_FILE_BACKUP_COUNT = Setting(
    "OTEL_DISTRO_LOG_FILE_BACKUP_COUNT",
    "int",
    10,
    "Number of rotated log files to keep; the oldest are deleted.",
)
OTEL_DISTRO_LOG_LEVELS = Setting(
    "OTEL_DISTRO_LOG_LEVELS",
    "str",
    "",
    "Minimum level to export per logger: myapp.db=DEBUG,urllib3=WARNING,*=INFO. Console output is unaffected. "
    "Other loggers export what their handlers show.",
)
OTEL_DISTRO_LOG_LEVELS_FILE = Setting(
    "OTEL_DISTRO_LOG_LEVELS_FILE",
    "str",
    "",
    "File with further log levels, reread within a second of a change while the process runs.",
)
OTEL_DISTRO_LOG_DEBUG_SIGNAL = Setting(
    "OTEL_DISTRO_LOG_DEBUG_SIGNAL",
    "choice",
    "off",
    "Signal that exports everything from DEBUG on for a while, if the application does not use it.",
    ("off", "usr1", "usr2"),
)
OTEL_DISTRO_LOG_DEBUG_SECONDS = Setting(
    "OTEL_DISTRO_LOG_DEBUG_SECONDS",
    "float",
    600.0,
    "Seconds for which levels from the file or the signal apply; 0 disables the limit.",
)
OTEL_DISTRO_LOG_DEDUP_LIMIT = Setting(
    "OTEL_DISTRO_LOG_DEDUP_LIMIT",
    "int",
    0,
    "Equal log records of one logger to send per window; of further ones only the last is sent, "
    "with their number. 0 disables deduplication.",
)
OTEL_DISTRO_LOG_DEDUP_WINDOW = Setting(
    "OTEL_DISTRO_LOG_DEDUP_WINDOW",
    "float",
    10.0,
    "Length of that window in seconds.",
)
OTEL_DISTRO_AUDIT_FILE = Setting(
    "OTEL_DISTRO_AUDIT_FILE",
    "str",
    "",
    "File to which audit events are also written before the call returns, chained by hashes.",
)
OTEL_DISTRO_AUDIT_FILE_MAX_BYTES = Setting(
    "OTEL_DISTRO_AUDIT_FILE_MAX_BYTES",
    "int",
    64 * 1024 * 1024,
    "Size in bytes at which the audit file is rotated; the chain continues in the new file. No file is "
    "deleted. 0 disables the limit.",
)
OTEL_DISTRO_AUDIT_KEY = Setting(
    "OTEL_DISTRO_AUDIT_KEY",
    "str",
    "",
    "HMAC key of the audit file's hashes; without it entries cannot be forged.",
)
OTEL_DISTRO_AUDIT_KEY_FILE = Setting(
    "OTEL_DISTRO_AUDIT_KEY_FILE",
    "str",
    "",
    "File that contains that key, instead of the key itself.",
)
OTEL_DISTRO_AUDIT_FSYNC = Setting(
    "OTEL_DISTRO_AUDIT_FSYNC",
    "bool",
    False,
    "Whether each audit event is flushed to the disk (fsync): survives a power failure, costs milliseconds.",
)
OTEL_DISTRO_ERROR_LOCALS = Setting(
    "OTEL_DISTRO_ERROR_LOCALS",
    "bool",
    False,
    "Whether records of exceptions carry the local variables of the application's frames, redacted and bounded.",
)
OTEL_DISTRO_SWALLOWED_EXCEPTIONS = Setting(
    "OTEL_DISTRO_SWALLOWED_EXCEPTIONS",
    "bool",
    False,
    "Whether exceptions are recorded that the application's code catches without reporting them; needs Python 3.12.",
)

OTEL_DISTRO_AUDIT_KINDS = Setting(
    "OTEL_DISTRO_AUDIT_KINDS",
    "str",
    "privileges",
    "Actions of the process to audit: "
    "files,processes,connections,dynamic_code,native_libraries,tmp_modules,privileges, or all, or off.",
)
OTEL_DISTRO_AUDIT_FILES = Setting(
    "OTEL_DISTRO_AUDIT_FILES",
    "str",
    "",
    "Further globs of sensitive files, separated by commas; prefix `!` to exclude; `!*` clears "
    "everything before it, also the built-in list.",
)
OTEL_DISTRO_AUDIT_RATE_LIMIT = Setting(
    "OTEL_DISTRO_AUDIT_RATE_LIMIT",
    "int",
    30,
    "Audit events to send per minute of one kind and one file, program or client address; ten times as "
    "many in total. 0 disables the limit.",
)
OTEL_DISTRO_AUDIT_TRUST_PROXY = Setting(
    "OTEL_DISTRO_AUDIT_TRUST_PROXY",
    "bool",
    False,
    "Whether the last address in X-Forwarded-For is the client's; only safe behind a proxy that sets it.",
)

OTEL_DISTRO_TRUST = Setting(
    "OTEL_DISTRO_TRUST",
    "choice",
    "all",
    "Clients whose traceparent and baggage requests continue: all, private (private and loopback addresses) or none.",
    ("all", "private", "none"),
)


def settings() -> "tuple[Setting[Any], ...]":
    """Return every setting, in the order of this file."""
    return tuple(value for value in globals().values() if isinstance(value, Setting))
