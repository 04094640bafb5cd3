"""Checks, repairs and completes OpenTelemetry's environment variables before the SDK reads them.

OpenTelemetry reads each variable where it needs it. A value that it cannot parse switches all
telemetry off, or raises during the import of ``opentelemetry.propagate``. Here a bad value is
reported in one line and replaced. The replacement is made in place, so that child processes inherit
a valid environment and do not report it again.

Imported at the start of every instrumented process: needs only :mod:`sys`, and imports the rules
only if there is a variable to check.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

# OpenTelemetry searches these expressions in whole URLs, of servers and of clients, and splits the
# variable at commas.
_HEALTH_ROUTES = r"^([a-z]+://[^/?#]*)?/(health|healthz|livez|readyz|ready|live|ping|metrics)/?([?#]|$)"

DEFAULTS: "dict[str, str]" = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
    "OTEL_METRICS_EXEMPLAR_FILTER": "trace_based",
    "OTEL_METRIC_EXPORT_INTERVAL": "15000",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "host,os,process",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
    "OTEL_PYTHON_EXCLUDED_URLS": _HEALTH_ROUTES,
}
"""Values of variables that the user has not set. A variable of the user for one signal takes
precedence over a general one here."""


# Fingerprints of the values that this process or an ancestor has checked, and the installation that
# checked them. Children skip those values: neither the cost nor a hint is repeated. A hint leaves
# its variable unchanged, so only this variable records that it was given.
_CHECKED = "_OTEL_DISTRO_CHECKED"


def prepare(environ: "MutableMapping[str, str]") -> "list[str]":
    """Check every ``OTEL_*`` variable in ``environ``, repair bad values, fill in :data:`DEFAULTS`.

    Returns one line for each bad value and for each hint. A line names the variable, the value
    (shortened, without secrets) and the value used instead. A second call, in this process or in a
    child that inherits ``environ``, returns none. Never raises, whatever ``environ`` holds.
    """
    lines: list[str] = []
    try:
        for name, value in DEFAULTS.items():
            environ.setdefault(name, value)
        # Most processes have only these defaults, set here or by the parent, and nothing is left to
        # do.
        user_set = _user_set(environ)
        if user_set:
            checked = environ.get(_CHECKED, "")
            if checked != _stamp(environ, user_set):
                from otel_distro.environment.inspection import inspect

                lines = inspect(environ, user_set, DEFAULTS, lambda name: fingerprint(environ, name) in checked)
                environ[_CHECKED] = _stamp(environ, _user_set(environ))
    except Exception as error:
        # The application must start whatever failed here; the SDK then sees the values unchanged.
        lines.append(f"otel-distro: checking the environment failed ({type(error).__name__}); it is left unchanged")
    return lines


def fingerprint(environ: "Mapping[str, str]", name: str) -> str:
    """Return a short text that changes with the value of ``name``, the same in every process."""
    value = environ[name].encode("utf-8", "surrogatepass")
    return f";{name}={int.from_bytes(value, 'big') % 1073741789:x};"


def _user_set(environ: "Mapping[str, str]") -> "set[str]":
    return {name for name in list(environ) if name.startswith("OTEL_") and environ[name] != DEFAULTS.get(name)}


def _stamp(environ: "Mapping[str, str]", names: "set[str]") -> str:
    return "".join([sys.prefix, *(fingerprint(environ, name) for name in sorted(names))])
