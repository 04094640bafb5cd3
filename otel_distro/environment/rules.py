"""The table of the environment variables that OpenTelemetry for Python reads.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/, and further
variables of the SDK, the exporters and the instrumentors of the supported release.
"""

from otel_distro import settings
from otel_distro.environment import checks, otlp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from otel_distro.environment.checks import Check, CheckResult


class Rule:
    """One variable: its check, its default, and the general variable that replaces it."""

    __slots__ = ("check", "default", "general")

    def __init__(
        self, check: "Check", default: "str | Callable[[str, Mapping[str, str]], str]", general: str = ""
    ) -> None:
        self.check = check
        self.default = default
        self.general = general


def _exporters(signal: str) -> Rule:
    own = ("otlp", "otlp_proto_http", "console", "none")
    return Rule(checks.components(f"opentelemetry_{signal}_exporter", *own), "otlp")


def _provider(signal: str, *known: str) -> Rule:
    return Rule(checks.component(f"opentelemetry_{signal}_provider", *known), "the provider of the SDK")


def _setting(setting: "settings.Setting[Any]") -> Rule:
    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        try:
            setting.parse(value)
        except ValueError as error:
            return checks.CheckResult(str(error))
        return None

    default = str(setting.default)
    return Rule(check, default.lower() if setting.kind == "bool" else default)


_BOOLEAN = checks.choice("true", "false")
_COUNT = checks.whole(0)
_POSITIVE = checks.whole(1)
_HEADER_EXPRESSIONS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS"
_EXCLUDED_URLS = Rule(checks.expressions, "", "OTEL_PYTHON_EXCLUDED_URLS")

# In the order of inspection: variables that other checks read come first, a general variable before
# the special ones.
RULES: "dict[str, Rule]" = {
    "OTEL_SDK_DISABLED": Rule(_BOOLEAN, "false"),
    "OTEL_CONFIG_FILE": Rule(checks.configuration_file, ""),
    "OTEL_TRACES_EXPORTER": _exporters("traces"),
    "OTEL_METRICS_EXPORTER": _exporters("metrics"),
    "OTEL_LOGS_EXPORTER": _exporters("logs"),
}
for _word, _check, _default in (
    ("PROTOCOL", otlp.protocol, "http/protobuf"),
    ("ENDPOINT", otlp.endpoint, otlp.default_endpoint),
    ("HEADERS", otlp.headers, "none"),
    ("TIMEOUT", otlp.timeout, "10"),
    ("COMPRESSION", otlp.compression, "gzip"),
    ("CERTIFICATE", otlp.certificate, ""),
    ("CLIENT_KEY", otlp.certificate, ""),
    ("CLIENT_CERTIFICATE", otlp.certificate, ""),
    ("INSECURE", _BOOLEAN, "false"),
):
    _general = f"OTEL_EXPORTER_OTLP_{_word}"
    RULES[_general] = Rule(_check, _default)
    for _signal in otlp.SIGNALS:
        RULES[f"OTEL_EXPORTER_OTLP_{_signal.upper()}_{_word}"] = Rule(_check, _default, _general)
for _wire in ("HTTP", "GRPC"):
    for _word in ("", "TRACES_", "METRICS_", "LOGS_"):
        RULES[f"OTEL_PYTHON_EXPORTER_OTLP_{_wire}_{_word}CREDENTIAL_PROVIDER"] = Rule(
            checks.component("opentelemetry_otlp_credential_provider"), "no credentials"
        )
RULES |= {
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": Rule(checks.subset(*otlp.GRPC_CODES), "the usual ones"),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": Rule(
        checks.choice("cumulative", "delta", "lowmemory"), "cumulative"
    ),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": Rule(
        checks.choice("explicit_bucket_histogram", "base2_exponential_bucket_histogram"), "explicit_bucket_histogram"
    ),
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT": Rule(otlp.url, "http://localhost:9411/api/v2/spans"),
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT": Rule(_POSITIVE, "10"),
    "OTEL_EXPORTER_PROMETHEUS_HOST": Rule(checks.anything, ""),
    "OTEL_EXPORTER_PROMETHEUS_PORT": Rule(checks.port, "9464"),
    "OTEL_BSP_SCHEDULE_DELAY": Rule(_POSITIVE, "1000"),
    "OTEL_BSP_EXPORT_TIMEOUT": Rule(_COUNT, "30000"),
    "OTEL_BSP_MAX_QUEUE_SIZE": Rule(_POSITIVE, "2048"),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": Rule(_POSITIVE, "512"),
    "OTEL_BLRP_SCHEDULE_DELAY": Rule(_POSITIVE, "1000"),
    "OTEL_BLRP_EXPORT_TIMEOUT": Rule(_COUNT, "30000"),
    "OTEL_BLRP_MAX_QUEUE_SIZE": Rule(_POSITIVE, "2048"),
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": Rule(_POSITIVE, "512"),
    "OTEL_METRIC_EXPORT_INTERVAL": Rule(checks.above_zero("milliseconds"), "15000"),
    "OTEL_METRIC_EXPORT_TIMEOUT": Rule(checks.above_zero("milliseconds"), "30000"),
    "OTEL_METRICS_EXEMPLAR_FILTER": Rule(checks.choice("trace_based", "always_on", "always_off"), "trace_based"),
    "OTEL_TRACES_SAMPLER": Rule(checks.sampler, "parentbased_always_on"),
    "OTEL_TRACES_SAMPLER_ARG": Rule(checks.sampler_argument, "1.0"),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": Rule(_COUNT, "128"),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": Rule(_COUNT, "128", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": Rule(_COUNT, "128", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": Rule(_COUNT, "128", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": Rule(_COUNT, "128", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": Rule(_COUNT, "no limit"),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": Rule(_COUNT, "no limit", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": Rule(_COUNT, "no limit", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": Rule(_COUNT, "128"),
    "OTEL_SPAN_LINK_COUNT_LIMIT": Rule(_COUNT, "128"),
    "OTEL_PROPAGATORS": Rule(
        checks.components("opentelemetry_propagator", "tracecontext", "baggage", "none"), "tracecontext,baggage"
    ),
    "OTEL_SERVICE_NAME": Rule(checks.service_name, "the name of the program"),
    "OTEL_RESOURCE_ATTRIBUTES": Rule(checks.resource_attributes, "none"),
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": Rule(
        checks.components("opentelemetry_resource_detector", "otel", "host", "os", "process", "service_instance", "*"),
        "",
    ),
    "OTEL_SEMCONV_STABILITY_OPT_IN": Rule(checks.subset(*checks.OPT_INS), ""),
    "OTEL_LOG_LEVEL": Rule(checks.choice("none", "off", "error", "warn", "warning", "info", "debug", "trace"), "info"),
    "OTEL_PYTHON_LOG_LEVEL": Rule(checks.choice("debug", "info", "warning", "error"), "info"),
    "OTEL_PYTHON_LOG_HANDLER_LEVEL": Rule(
        checks.choice("notset", "debug", "info", "warn", "warning", "error", "critical", "fatal"), "notset"
    ),
    "OTEL_PYTHON_LOG_FORMAT": Rule(checks.anything, ""),
    "OTEL_PYTHON_LOG_CORRELATION": Rule(_BOOLEAN, "false"),
    "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": Rule(_BOOLEAN, "true"),
    "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": Rule(_BOOLEAN, "true"),
    "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": Rule(_BOOLEAN, "false"),
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": Rule(_BOOLEAN, ""),
    "OTEL_PYTHON_EXCLUDED_URLS": Rule(checks.expressions, ""),
    f"{_HEADER_EXPRESSIONS}_SERVER_REQUEST": Rule(checks.expressions, "none"),
    f"{_HEADER_EXPRESSIONS}_SERVER_RESPONSE": Rule(checks.expressions, "none"),
    f"{_HEADER_EXPRESSIONS}_CLIENT_REQUEST": Rule(checks.expressions, "none"),
    f"{_HEADER_EXPRESSIONS}_CLIENT_RESPONSE": Rule(checks.expressions, "none"),
    f"{_HEADER_EXPRESSIONS}_SANITIZE_FIELDS": Rule(checks.expressions, "none"),
    "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": Rule(checks.anything, ""),
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": Rule(checks.anything, ""),
    "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH": Rule(checks.choice("patch_all"), "no patch"),
    "OTEL_PYTHON_DJANGO_INSTRUMENT": Rule(checks.anything, ""),
    "OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION": Rule(_COUNT, "0"),
    "OTEL_PYTHON_SYSTEM_METRICS_EXCLUDED_METRICS": Rule(checks.anything, ""),
    "OTEL_PYTHON_DISTRO": Rule(checks.component("opentelemetry_distro", "otel_distro"), "otel_distro"),
    "OTEL_PYTHON_CONFIGURATOR": Rule(checks.component("opentelemetry_configurator", "otel_distro"), "otel_distro"),
    "OTEL_PYTHON_CONTEXT": Rule(
        checks.component("opentelemetry_context", "contextvars_context"), "contextvars_context"
    ),
    "OTEL_PYTHON_ID_GENERATOR": Rule(checks.component("opentelemetry_id_generator", "random"), "random"),
    "OTEL_PYTHON_TRACER_PROVIDER": _provider("tracer", "sdk_tracer_provider", "default_tracer_provider"),
    "OTEL_PYTHON_METER_PROVIDER": _provider("meter", "sdk_meter_provider", "default_meter_provider"),
    "OTEL_PYTHON_LOGGER_PROVIDER": _provider("logger", "sdk_logger_provider"),
    "OTEL_PYTHON_TRACER_CONFIGURATOR": Rule(checks.component("_opentelemetry_tracer_configurator"), "none"),
    "OTEL_PYTHON_METER_CONFIGURATOR": Rule(checks.component("_opentelemetry_meter_configurator"), "none"),
    "OTEL_PYTHON_LOGGER_CONFIGURATOR": Rule(checks.component("_opentelemetry_logger_configurator"), "none"),
} | {setting.name: _setting(setting) for setting in settings.settings()}

_NO_LONGER_READ = {
    "OTEL_EXPERIMENTAL_CONFIG_FILE": "its name is OTEL_CONFIG_FILE",
    "OTEL_EXPORTER_JAEGER_": "Jaeger takes OTLP, see OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_SPAN_INSECURE": "its name is OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_METRIC_INSECURE": "its name is OTEL_EXPORTER_OTLP_METRICS_INSECURE",
}


def rule_of(name: str) -> "Rule | None":
    """Return the rule of a variable; None for one that has no effect."""
    if name.startswith("OTEL_PYTHON_") and name.endswith("_EXCLUDED_URLS") and name not in RULES:
        return _EXCLUDED_URLS
    return RULES.get(name)


def outdated(name: str) -> "tuple[str, str] | None":
    """Return the prefix of the names and the advice for a variable that is no longer read."""
    for start, advice in _NO_LONGER_READ.items():
        if name.startswith(start):
            return start, f"is no longer read; {advice}"
    return None


def similar_name(name: str) -> str:
    """Return the known name that ``name`` was probably meant to be, or an empty string.

    A similar name differs in one place by at most two letters: swapped, omitted, doubled or wrong.
    """
    for known in RULES:
        if abs(len(name) - len(known)) > 2:
            continue
        third = len(known) // 3
        if name[:third] != known[:third] and name[-third:] != known[-third:]:
            continue
        shorter = min(len(name), len(known))
        begin = 0
        while begin < shorter and name[begin] == known[begin]:
            begin += 1
        end = 0
        while end < shorter - begin and name[-1 - end] == known[-1 - end]:
            end += 1
        if max(len(name), len(known)) - begin - end <= 2:
            return known
    return ""
