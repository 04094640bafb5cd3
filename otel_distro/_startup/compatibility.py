"""Differences to upstream's tables of instrumentors: replaced ones, and wider version ranges.

Read by the loader at run time and by ``otel-distro bootstrap``. Keys are entry point names of
``opentelemetry_instrumentor``.
"""

from otel_distro._version import __version__

TRAIN: "dict[str, str]" = {
    "opentelemetry-api": "1.45.",
    "opentelemetry-sdk": "1.45.",
    "opentelemetry-proto": "1.45.",
    "opentelemetry-exporter-otlp-proto-common": "1.45.",
    "opentelemetry-instrumentation": "0.66b",
    "opentelemetry-semantic-conventions": "0.66b",
}
"""Supported releases of OpenTelemetry: package to the beginning of its version."""

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


def version_conflict(*, missing: bool = True) -> str:
    """Return one sentence on an unsupported version of OpenTelemetry with the command that mends it.

    Empty where every package has a supported version. ``missing``: whether a package that is not
    installed is a conflict, too.
    """
    from importlib.metadata import PackageNotFoundError, version

    for package, beginning in TRAIN.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = ""
        if not found.startswith(beginning) and (found or missing):
            state = f"{package} {found} is installed" if found else f"{package} is not installed"
            return f"{state}, otel-distro {__version__} requires {beginning}x. Fix: {_install_command()}"
    return ""


def _install_command() -> str:
    """Return the command that installs the versions that this distribution's metadata requires."""
    import shutil
    import sys
    from importlib.metadata import PackageNotFoundError, requires
    from importlib.util import find_spec

    try:
        found = requires("otel-distro") or []
    except PackageNotFoundError:
        found = []
    pins = [f"'{each}'" for each in found if each.startswith("opentelemetry-") and ";" not in each]
    python = sys.executable
    # An environment that uv made has no pip.
    uv = find_spec("pip") is None and shutil.which("uv")
    command = f"uv pip install --python {python}" if uv else f"{python} -m pip install"
    return f"{command} {' '.join(pins) or '--upgrade otel-distro'}"
