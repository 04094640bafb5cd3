"""The environment that OpenTelemetry reads: checked, repaired and filled with our defaults before the SDK sees it.

Upstream reads each variable where it needs it, and one that it cannot read switches all telemetry off or raises in the
import of ``opentelemetry.propagate``. Here a bad value costs one line and falls back. What is repaired is repaired in
place, so that child processes inherit an environment that is in order and do not say it again.

Imported at the start of every instrumented process: it needs nothing but :mod:`sys`, and the rules only
where there is something to check.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

# Upstream searches these expressions in whole URLs, of servers and of clients, and splits the variable at commas.
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
"""What holds where the user sets nothing. A variable for one signal, set by the user, wins over the general one here."""


# Which values have been checked, here or in a process further up, and for which installation: children skip those, so
# that neither the cost nor a hint comes again. A hint leaves its variable as it is, and only this tells that it was given.
_CHECKED = "_OTEL_DISTRO_CHECKED"


def prepare(environ: "MutableMapping[str, str]") -> "list[str]":
    """Check every ``OTEL_*`` variable in ``environ``, repair what is bad, fill in :data:`DEFAULTS`.

    Returns one line for each bad value, which names the variable, the value (shortened, secrets hidden) and what holds
    instead, and for each hint. A second call, in this process or in a child that inherits ``environ``, returns none.
    Never raises, whatever ``environ`` holds.
    """
    lines: list[str] = []
    try:
        for name, value in DEFAULTS.items():
            environ.setdefault(name, value)
        # Most processes have nothing but our defaults, set here or by the parent, and then nothing is left to be done.
        theirs = _theirs(environ)
        if theirs:
            checked = environ.get(_CHECKED, "")
            if checked != _stamp(environ, theirs):
                from otel_distro.environment.inspection import inspect

                lines = inspect(environ, theirs, DEFAULTS, lambda name: fingerprint(environ, name) in checked)
                environ[_CHECKED] = _stamp(environ, _theirs(environ))
    except Exception as error:
        # The application must start, whatever went wrong here; the SDK then sees the values as they are.
        lines.append(f"otel-distro: checking the environment failed ({type(error).__name__}); it is left as it is")
    return lines


def fingerprint(environ: "Mapping[str, str]", name: str) -> str:
    """Return a short text that changes with the value of ``name``, the same in every process."""
    value = environ[name].encode("utf-8", "surrogatepass")
    return f";{name}={int.from_bytes(value, 'big') % 1073741789:x};"


def _theirs(environ: "Mapping[str, str]") -> "set[str]":
    return {name for name in list(environ) if name.startswith("OTEL_") and environ[name] != DEFAULTS.get(name)}


def _stamp(environ: "Mapping[str, str]", names: "set[str]") -> str:
    return "".join([sys.prefix, *(fingerprint(environ, name) for name in sorted(names))])
