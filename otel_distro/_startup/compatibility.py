"""Where we differ from upstream's tables of instrumentations: what is ours instead, and which ranges are wider.

Read by the loader at run time and by ``otel-distro bootstrap``; keys are entry point names of ``opentelemetry_instrumentor``.
"""

REPLACED: "dict[str, str]" = {
    "logging": "log_records keeps the console output and does not export the SDK's own messages",
    "system_metrics": "process_metrics has the names of the semantic conventions and is right in forked workers",
    "exceptions": "error_tracking counts and keeps standard error as it was",
    "structlog": "structlog_records sends each event once, where upstream sends those that go to logging twice",
    "asyncio": "a span for each coroutine tells nothing that the request's span does not",
}
"""Upstream's instrumentors that are neither installed nor loaded, with the reason."""

WIDENED: "dict[str, tuple[str, ...]]" = {
    "sqlalchemy": ("sqlalchemy >= 1.0.0, < 2.2",),
}
"""Versions of libraries that are instrumented although upstream's range leaves them out; tested with ours."""


TRAINS = (("1.44.", "0.65b"), ("1.45.", "0.66b"))
"""The release trains of OpenTelemetry that are tested, oldest first: how their versions begin."""

CORE_RANGE = ">=1.44,<1.46"
CONTRIB_RANGE = ">=0.65b0,<0.67"
"""The same as version specifiers, as in pyproject.toml: API and SDK; instrumentations."""


def package_of(instrumentor: str) -> str:
    """Return the package that upstream's instrumentor comes in."""
    return f"opentelemetry-instrumentation-{instrumentor.replace('_', '-')}"
