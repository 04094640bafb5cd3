"""Starts telemetry in this process and loads instrumentors, each independent of the others."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts, get_dist_dependency_conflicts

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._otel.components import entry_points
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard, report_failure, say, text_of
from otel_distro._startup import compatibility, triggers
from otel_distro._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.instrumentation.dependencies import DependencyConflict

_loaded: set[str] = set()


KNOWN = {
    *(row[1] for row in triggers.ON_IMPORT),
    *(row[3] for row in triggers.FIRST_CALL),
    *(row[0] for row in triggers.ALWAYS),
    *compatibility.REPLACED,
}
"""Entry points that the startup hooks load, or that are replaced: not loaded one by one."""


class Running:
    """State of this process; set once by :func:`start`."""

    disabled: ClassVar[set[str]] = set()
    ending: ClassVar[bool] = False


def start(disabled: set[str], release: Callable[[str], None]) -> bool:
    """Build the SDK and load the instrumentors that always run.

    Args:
        disabled: Names of instrumentors not to load.
        release: Called with the name of an instrumentor; removes the startup hooks from the places
            that this instrumentor is about to patch.

    Returns:
        False if the installed OpenTelemetry is not a tested one: telemetry stays off.
    """
    if conflict := compatibility.version_conflict():
        say(f"telemetry is off: {conflict}", cause="version conflict", code="OD150")
        return False
    _redirect_upstream_logs()
    sdk.run_detectors_in_turn()
    # Imports what the worker threads need at their start: under gevent, an import that another
    # thread has begun switches greenlets in the middle of the activation.
    sdk.suppressed()
    from otel_distro._runtime import uwsgi_forks
    from otel_distro._runtime.signal_watcher import SignalWatch
    from otel_distro.configurator import Configurator

    uwsgi_forks.prepare()
    for module, function in (("_asgi", "adapt"), ("_runtime", "keep_exporters")):
        import_hooks.when_imported(f"fastapi.telemetry.{module}", _adapt_fastapi(function))
    Running.disabled = disabled
    process_exit.register("loading of instrumentors", process_exit.Order.INSTRUMENTOR_LOADING, before_end=_stop_loading)
    Configurator().configure(auto_instrumentation_version=_version_of("opentelemetry-instrumentation"))
    _run_hooks("opentelemetry_pre_instrument")
    for name, where in triggers.ALWAYS:
        release(name)
        load(name, where)
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.name not in KNOWN:
            load(entry_point.name, entry_point.value)
    _run_hooks("opentelemetry_post_instrument")
    SignalWatch().start()
    return True


def load(name: str, where: str) -> None:
    """Load instrumentor ``name`` from ``where`` (``module:Class``) once.

    One that is not installed is skipped silently. An unsupported version of its library prints a
    line; an import or a patch that fails prints one and counts in
    ``otel_distro.instrumentor.failures``.
    """
    if name in _loaded or name in Running.disabled or Running.ending:
        return
    _loaded.add(name)
    module, _, attribute = where.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{error.name}.".startswith("opentelemetry.instrumentation."):
            return
        # Instrumentors import their library, and a version they do not support may lack a name.
        if not _unsupported(name, _package_conflict(name)):
            _failed(name, error)
        return
    try:
        instrumentor = found()
        wanted = compatibility.WIDENED.get(name) or instrumentor.instrumentation_dependencies()
        if conflict := get_dependency_conflicts(wanted):
            _unsupported(name, conflict)
            return
        instrumentor.instrument(skip_dep_check=True)
    except Exception as error:
        if "after shutdown" not in text_of(error):
            # Telemetry starts while the program ends: it is too late to register an exit function.
            _failed(name, error)


def _adapt_fastapi(function: str) -> Callable[[Any], None]:
    """Return what adapts FastAPI's own telemetry, whichever instrumentors are disabled."""

    def adapt(module: Any) -> None:
        with guard("FastAPI's own telemetry"):
            from otel_distro.instrumentation._http_server import fastapi_telemetry

            getattr(fastapi_telemetry, function)(module)

    return adapt


def _stop_loading() -> None:
    """Load no instrumentor any more: the process ends.

    An exporter's last delivery may be the first call of the library it sends with, such as
    ``requests``. The instrumentor would request a meter from a provider that is shutting down, and
    the SDK logs a warning for that.
    """
    Running.ending = True


def _unsupported(name: str, conflict: DependencyConflict | None) -> bool:
    """Return whether the installed version of the library is not supported, and report it."""
    if conflict is None or not (conflict.found or conflict.found_any):
        return False
    found = conflict.found or ", ".join(conflict.found_any)
    required = " or ".join(str(each).partition(";")[0] for each in conflict.required_any or (conflict.required,))
    say(
        f"{name} is not instrumented: {found} is installed, supported is {required}. "
        f"Install a supported version, or set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={name}",
        cause=f"unsupported {name}",
        code="OD152",
    )
    return True


def _package_conflict(name: str) -> DependencyConflict | None:
    """Return what the metadata of an instrumentor's package say about its library.

    Neither is imported.
    """
    try:
        return get_dist_dependency_conflicts(distribution(compatibility.package_of(name)))
    except PackageNotFoundError:
        return None


def uncaught(error: BaseException) -> None:
    """Record an exception that ends the main thread once, however many hooks received it."""
    record_exception(error, "main")


def record_exception(error: BaseException, handler: str, *where: Any) -> None:
    """Record an exception that a startup hook received.

    Args:
        error: The exception.
        handler: Name of the hook.
        where: Code and instruction offset, of a swallowed exception.
    """
    if "error_tracking" not in _loaded:
        return
    from otel_distro.errors.exception_report import record
    from otel_distro.errors.sources import hooks, swallowed

    if handler == "swallowed":
        code, offset = where
        swallowed.caught(code, offset, error)
    elif handler == "unraisable":
        hooks.record_later(error, handler)
    else:
        record(error, handler)


def finish() -> None:
    """Export what is queued within the exit budget: the process ends."""
    from otel_distro.configurator import Configurator

    if Configurator.lifecycle is not None:
        Configurator.lifecycle.finish()


def _failed(name: str, error: Exception) -> None:
    report_failure(f"instrumentor {name}", error)
    with guard("counting a failed instrumentor"):
        from opentelemetry import metrics

        failures = schema.INSTRUMENTOR_FAILURES
        metrics.get_meter("otel_distro", __version__).create_counter(failures.name, failures.unit, failures.brief).add(
            1, {schema.INSTRUMENTOR_NAME.name: name, schema.ERROR_TYPE.name: type(error).__qualname__}
        )


def _run_hooks(group: str) -> None:
    for entry_point in entry_points(group=group):
        with guard(f"hook {entry_point.name} of {group}"):
            entry_point.load()()


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _redirect_upstream_logs() -> None:
    """Print what the SDK logs about itself as diagnostics of this package.

    It goes neither to the handlers of the application nor to the collector. If the application has
    put a handler on the logger ``opentelemetry``, nothing changes.
    """
    import logging

    class ToDiagnostics(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(
                f"{record.name}: {record.getMessage()}"[:500],
                cause=f"{record.name}:{record.lineno}",
                code="OD153",
            )

    logger = logging.getLogger("opentelemetry")
    if not logger.handlers and logger.propagate and os.environ.get("OTEL_LOG_LEVEL", "").lower() != "debug":
        logger.addHandler(ToDiagnostics(logging.WARNING))
        logger.propagate = False
