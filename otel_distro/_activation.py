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
from otel_distro._runtime import import_hooks, threads
from otel_distro._runtime.diagnostics import guard, report_failure, say, text_of
from otel_distro._startup import compatibility, triggers
from otel_distro._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.instrumentation.dependencies import DependencyConflict

    from otel_distro._startup.early_calls import Call

_loaded: set[str] = set()
_loading: dict[str, tuple[int, threads.LockType]] = {}
"""Instrumentor that is being loaded -> the thread that does it, and a lock until it is done."""
_LOAD_TIMEOUT_S = 5.0


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
        release: Called with the name of an instrumentor once it is loaded; removes its startup
            hooks.

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
    for name in ("asgi", "wsgi"):
        if name not in disabled:
            import_hooks.when_imported(f"opentelemetry.instrumentation.{name}", _adopt_middleware)
    from otel_distro._runtime import uwsgi_forks
    from otel_distro._runtime.signal_watcher import SignalWatch
    from otel_distro.configurator import Configurator
    from otel_distro.instrumentation import queue_polling

    uwsgi_forks.prepare()
    for module, function in (("_asgi", "adapt"), ("_runtime", "keep_exporters")):
        import_hooks.when_imported(f"fastapi.telemetry.{module}", _adapt_fastapi(function))
    Running.disabled = disabled
    process_exit.register("loading of instrumentors", process_exit.Order.INSTRUMENTOR_LOADING, before_end=_stop_loading)
    Configurator().configure(auto_instrumentation_version=_version_of("opentelemetry-instrumentation"))
    queue_polling.install()
    _run_hooks("opentelemetry_pre_instrument")
    for name, where in triggers.ALWAYS:
        # They take the place of the startup hooks themselves, without a gap.
        load(name, where)
        release(name)
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.name not in KNOWN:
            load(entry_point.name, entry_point.value)
    _run_hooks("opentelemetry_post_instrument")
    SignalWatch().start()
    return True


def _adopt_middleware(module: ModuleType) -> None:
    from otel_distro.instrumentation._http_server import upstream

    upstream.adopt_middleware(module)


def load(name: str, where: str, release: Callable[[str], object] = str) -> None:
    """Load instrumentor ``name`` from ``where`` (``module:Class``) once.

    One that is not installed is skipped silently. An unsupported version of its library prints a
    line; an import or a patch that fails prints one and counts in
    ``otel_distro.instrumentor.failures``. Where another thread is loading it, this one waits: its
    call would not be instrumented yet.

    Args:
        name: Name of the entry point.
        where: Module and class.
        release: Called with the name just before the library is patched.
    """
    if name in Running.disabled or Running.ending:
        return
    mine = (threads.get_ident(), threads.allocate_lock())
    mine[1].acquire()
    thread, lock = _loading.setdefault(name, mine)
    if lock is not mine[1]:
        if thread != mine[0] and lock.acquire(True, _LOAD_TIMEOUT_S):
            lock.release()
        return
    try:
        if name not in _loaded:
            _loaded.add(name)
            _load(name, where, release)
    finally:
        del _loading[name]
        lock.release()


def _load(name: str, where: str, release: Callable[[str], object]) -> None:
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
        release(name)
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


def replay(call: Call) -> None:
    """Record what another thread did while telemetry started, in the context of that thread."""
    if call.kind == "exception":
        _replay_exception(call, *call.arguments)
    elif call.kind == "record":
        if "log_records" in _loaded:
            from otel_distro.instrumentation import log_records

            log_records.export_kept(call.arguments[0], call.arguments[1], call.thread)
    else:
        load("loguru_records", next(row[4] for row in triggers.FIRST_CALL if row[3] == "loguru_records"))
        if "loguru_records" not in Running.disabled:
            from otel_distro.instrumentation import loguru_records

            loguru_records.export_kept(call.arguments[0], call.arguments[1], call.thread)


def _replay_exception(call: Call, error: BaseException, handler: str, *where: Any) -> None:
    if "error_tracking" not in _loaded:
        return
    if handler == "swallowed":
        record_exception(error, handler, *where)
        return
    from otel_distro.errors import exception_report

    more: dict[str, Any] = dict(zip((schema.THREAD_ID.name, schema.THREAD_NAME.name), call.thread, strict=True))
    if where and where[0]:
        more[schema.ASYNCIO_TASK_NAME.name] = where[0]
    report = exception_report.claim(error, handler, more=more)
    if report is not None:
        report.timestamp = call.time
        exception_report.send(report)


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
        hooks.record_unraisable(error)
    else:
        record(error, handler)


def finish(spent: float = 0.0) -> None:
    """Export what is queued within the exit budget: the process ends.

    Args:
        spent: Seconds of the budget that are over.
    """
    from otel_distro.configurator import Configurator

    if Configurator.lifecycle is not None:
        Configurator.lifecycle.finish(spent)


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
