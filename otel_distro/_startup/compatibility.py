"""Differences to upstream's tables of instrumentors: others in their place, wider ranges.

Read by the loader at run time and by ``otel-distro bootstrap``. Keys are entry point names of
``opentelemetry_instrumentor``.
"""

import os
import sys

from otel_distro._version import __version__

TRAINS = (("1.44.", "0.65b"), ("1.45.", "0.66b"))
"""The release trains of OpenTelemetry that are tested, oldest first: how their versions begin."""

CORE_RANGE = ">=1.44,<1.46"
CONTRIB_RANGE = ">=0.65b0,<0.67"
"""The same as version specifiers, as in pyproject.toml: API and SDK; instrumentations."""

_CORE = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-proto", "opentelemetry-exporter-otlp-proto-common")
_CONTRIB = ("opentelemetry-instrumentation", "opentelemetry-semantic-conventions")

REPLACED: "dict[str, str]" = {
    "logging": "log_records keeps the console output and does not export the SDK's own messages",
    "system_metrics": "process_metrics has the names of the semantic conventions and is right in forked workers",
    "exceptions": "error_tracking counts and keeps standard error as it was",
    "structlog": "structlog_records sends each event once, where upstream sends those that go to logging twice",
    "asyncio": "a span for each coroutine adds nothing to the span of the request",
}
"""Upstream's instrumentors that are neither installed nor loaded, with the reason."""

PROVIDED = (
    "aiohttp_server",
    "asgi",
    "asyncclick",
    "click",
    "django",
    "falcon",
    "fastapi",
    "flask",
    "pyramid",
    "starlette",
    "wsgi",
)
"""Upstream's instrumentors that are not installed: this package has one for the same task.

Tornado's is installed: the client of Tornado is instrumented by it.
"""

WIDENED: "dict[str, tuple[str, ...]]" = {
    "sqlalchemy": ("sqlalchemy >= 1.0.0, < 2.2",),
}
"""Versions of libraries that are instrumented although upstream's range excludes them; tested."""


def package_of(instrumentor: str) -> str:
    """Return the package that upstream's instrumentor comes in."""
    return f"opentelemetry-instrumentation-{instrumentor.replace('_', '-')}"


def version_conflict(*, missing: bool = True) -> str:
    """Return one sentence on an unsupported version of OpenTelemetry, with the command to fix it.

    Empty where every package has a supported version. ``missing``: whether a package that is not
    installed is a conflict, too.
    """
    found = installed_versions((*_CORE, *_CONTRIB))
    api = found["opentelemetry-api"]
    core, contrib = next((train for train in reversed(TRAINS) if api.startswith(train[0])), TRAINS[-1])
    for package, installed in found.items():
        expected = core if package in _CORE else contrib
        if (installed or missing) and not installed.startswith(expected):
            state = f"{package} {installed} found" if installed else f"{package} not found"
            is_api = package == "opentelemetry-api"
            required = f"{TRAINS[0][0]}x to {TRAINS[-1][0]}x" if is_api else f"{expected}x"
            return f"{state}, {required} required by otel-distro {__version__}. Fix: {_install_command()}"
    return ""


def installed_versions(packages: "tuple[str, ...]") -> "dict[str, str]":
    """Return the version of each package, empty where it is not installed.

    The names of the metadata folders have it. Reading the metadata would cost each start of
    ``opentelemetry-instrument`` some 40 ms; it is read only for a package without such a folder.
    """
    projects = {package.replace("-", "_"): package for package in packages}
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith(".dist-info"):
                project, _, version = name[: -len(".dist-info")].partition("-")
                if project.lower() in projects:
                    found.setdefault(projects[project.lower()], version)
    return {package: found.get(package) or _version_of(package) for package in packages}


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _install_command() -> str:
    """Return the command that installs the versions that this distribution's metadata requires."""
    import shutil
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
