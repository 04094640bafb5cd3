"""Differences to upstream's tables of instrumentors: replaced ones, and wider version ranges.

Read by the loader at run time and by ``otel-distro bootstrap``. Keys are entry point names of
``opentelemetry_instrumentor``.
"""

REPLACED: "dict[str, str]" = {
    "logging": "log_records keeps the console output and does not export the SDK's own messages",
    "system_metrics": "process_metrics has the names of the semantic conventions and is right in forked workers",
    "exceptions": "error_tracking counts and keeps standard error as it was",
    "structlog": "structlog_records sends each event once, where upstream sends those that go to logging twice",
    "asyncio": "a span for each coroutine adds nothing to the span of the request",
}
"""Upstream's instrumentors that are neither installed nor loaded, with the reason."""

WIDENED: "dict[str, tuple[str, ...]]" = {
    "sqlalchemy": ("sqlalchemy >= 1.0.0, < 2.2",),
}
"""Versions of libraries that are instrumented although upstream's range excludes them; tested."""


def package_of(instrumentor: str) -> str:
    """Return the package that upstream's instrumentor comes in."""
    return f"opentelemetry-instrumentation-{instrumentor.replace('_', '-')}"
