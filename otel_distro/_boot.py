"""Installs lazy hooks at the start of an instrumented process; the first to fire builds the SDK.

The hooks are: the import of a library that has an instrumentor, the first log record, the first
uncaught exception, the first HTTP call, and a timer for processes that live on. Nothing of
OpenTelemetry is imported before one fires, so a process that does none of this, such as the
children of a test run, never loads it.
"""

import atexit
import os
import sys
import time

from otel_distro._runtime import fork, import_hooks, signals, threads
from otel_distro._runtime.diagnostics import guard, report_failure, say
from otel_distro._startup import exception_hooks, gevent_patch, triggers, uvicorn_workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping
    from types import FrameType, ModuleType
    from typing import Any

_SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_site")
_UPSTREAM_SITE = os.path.join("opentelemetry", "instrumentation", "auto_instrumentation")


class _State:
    """How far telemetry has come in this process."""

    __slots__ = (
        "activating", "active", "audit_queue", "began_at", "delay", "ended", "finishing", "interrupted_by", "killed_by",
        "lock", "started", "stepped_aside",
    )  # fmt: skip

    def __init__(self) -> None:
        self.started = False  # The hooks are installed, or telemetry is switched off.
        self.lock = threads.allocate_lock()  # Held by the thread that builds the SDK.
        self.activating = 0  # Identity of the thread that builds the SDK; 0 for none.
        self.began_at = 0.0  # When the activation began, as time.monotonic().
        self.active = False  # The activation is over; telemetry is on unless it left the process alone.
        self.stepped_aside = False  # The activation failed or declined: there is no telemetry.
        self.delay = -1.0  # Seconds until the timer activates telemetry; negative before the start.
        self.finishing = False  # The last delivery is in progress.
        self.ended = False  # The exit function has run.
        self.killed_by = 0  # Number of the signal that ends the process; 0 for none.
        self.interrupted_by = 0  # The same, where it came during the activation in its thread.
        # Queue of the audit hook where it runs from the start; events in it activate telemetry.
        self.audit_queue: deque[Any] | None = None


state = _State()
_START_TIMEOUT_S = 10.0
"""How long after the beginning of an activation other threads wait for it."""
_URGENT_DELAY_S = 0.05
_TIMER_END_TIMEOUT_S = 0.25

_pending: "list[Callable[[], None]]" = []
_trampolines: "dict[str, list[import_hooks.Trampoline]]" = {}
_timer = threads.Timer()


def takeover() -> None:
    """Take the place of upstream's ``sitecustomize`` under ``opentelemetry-instrument``.

    Called by the ``.pth`` file.

    In the process of that command itself only versions and environment are checked, before upstream
    reads them: a propagator that is not installed would end the process. Another distribution that
    the user chose has priority.
    """
    environ = os.environ
    if _another_is_chosen(environ):
        return
    entries = environ.get("PYTHONPATH", "").split(os.pathsep)
    upstream = [entry for entry in entries if entry.rstrip(os.sep).endswith(_UPSTREAM_SITE)]
    if not upstream:
        from otel_distro._startup import version_guard

        version_guard.run_without_telemetry_on_conflict()
        _check_environment()
        return
    # Children find this sitecustomize there: it is cheaper, and runs the one of the user.
    kept = [entry for entry in entries if entry not in upstream and entry != _SITE]
    environ["PYTHONPATH"] = os.pathsep.join([_SITE, *kept])
    sys.path[:] = [entry for entry in sys.path if not entry.rstrip(os.sep).endswith(_UPSTREAM_SITE)]
    start()


def _another_is_chosen(environ: "Mapping[str, str]") -> bool:
    for kind in ("distro", "configurator"):
        name = environ.get(f"OTEL_PYTHON_{kind.upper()}", "").strip()
        if name not in ("", "otel_distro"):
            from importlib.metadata import entry_points

            # One that is not installed is a bad value, which the check of the environment reports.
            if entry_points(group=f"opentelemetry_{kind}", name=name):
                return True
    return False


def _check_environment() -> None:
    from otel_distro import environment

    for line in environment.prepare(os.environ):
        say(line, code="OD201")


def start() -> None:
    """Install the hooks. Never raises; a second call does nothing."""
    if state.started:
        return
    state.started = True
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    try:
        _start()
    except Exception as error:
        report_failure("starting telemetry", error)


def _start() -> None:
    from otel_distro import settings

    _check_environment()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    if "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH" in os.environ:
        gevent_patch.apply()
    gevent_patch.follow(lambda: state.activating and activate())
    disabled = triggers.disabled(os.environ)
    if "security_audit" not in disabled and settings.OTEL_DISTRO_AUDIT_KINDS.is_set():
        from otel_distro._startup import audit_hook

        state.audit_queue = audit_hook.start_early(_timer.hurry, lambda: state.activating == threads.get_ident())
    for module, name, where in triggers.ON_IMPORT:
        if name not in disabled:
            import_hooks.when_imported(module, _instrument_on_import(name, where))
    for module, owner, attribute, name, where in triggers.FIRST_CALL:
        if name not in disabled:
            import_hooks.when_imported(module, _replace_on_import(owner, attribute, name, where))
    if "log_records" not in disabled:
        import_hooks.when_imported("logging", _prepare_logging)
    for module in triggers.STARTS_TELEMETRY:
        import_hooks.when_imported(module, lambda _: activate())
    import_hooks.when_imported(
        "multiprocessing.util", lambda util: exception_hooks.follow_multiprocessing(util, _report, _at_exit)
    )
    import_hooks.when_imported("uvicorn.supervisors.multiprocess", uvicorn_workers.patch)
    if "error_tracking" not in disabled:
        exception_hooks.install_main_hook(_report)
        exception_hooks.install_unraisable_hook(_report, lambda: state.ended)
        if settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.get():
            from otel_distro.errors import frames

            exception_hooks.install_monitoring(_report, frames.app_file_name)
    atexit.register(_at_exit)
    signals.handle(_on_fatal_signal)
    fork.register(
        "activation timer",
        fork.Order.ACTIVATION_TIMER,
        before=_end_timer,
        after_in_parent=_start_timer,
        after_in_child=reset_after_fork,
    )
    state.delay = settings.OTEL_DISTRO_PROCESS_METRICS_DELAY.get()
    _start_timer()


def activate(timeout: float = _START_TIMEOUT_S) -> bool:
    """Build the SDK and load the instrumentors that always run; the first hook to fire calls this.

    While one thread does this, others wait for it, so that what they are about to record is not
    lost. A thread stops waiting where the other one needs an import that it is in the middle of.

    Args:
        timeout: Longest wait in seconds, counted from the beginning of the activation. 0 is for
            callers that keep what they have to record, see
            :mod:`otel_distro._startup.early_calls`.

    Returns:
        Whether telemetry is on in this process.
    """
    if state.active:
        return not state.stepped_aside
    if state.activating == threads.get_ident() or gevent_patch.in_progress():
        return False
    if not state.lock.acquire(False):
        if timeout:
            from otel_distro._startup import early_calls

            early_calls.wait_for(state, (state.began_at or time.monotonic()) + timeout)
        return state.active and not state.stepped_aside
    if state.active:
        # Another thread has just finished the activation.
        state.lock.release()
        return not state.stepped_aside
    # Before anything is imported: the child of another thread would have incomplete imports that never end.
    release_forks = fork.hold(activate)
    state.activating = threads.get_ident()
    try:
        send_held_signals = signals.hold_back()
    except BaseException:
        # A handler of the application raised: the next hook starts telemetry.
        release_forks()
        state.activating = 0
        state.lock.release()
        if state.interrupted_by:
            os.kill(os.getpid(), state.interrupted_by)
        raise
    try:
        _activate(release_forks)
    finally:
        send_held_signals()
    return not state.stepped_aside


def _activate(release_forks: "Callable[[], object]") -> None:
    """Build the SDK, record what other threads kept meanwhile, and release the lock."""
    state.began_at = time.monotonic()
    _timer.stop()
    on = False
    try:
        # The end of the process needs _ending: it must not wait there for an import of another thread.
        from otel_distro import _ending
        from otel_distro._startup import early_calls

        disabled = triggers.disabled(os.environ)
        early_calls.begin(_end_at_once, keeps_records="log_records" not in disabled)
        from otel_distro import _activation

        on = _activation.start(disabled, release)
    except Exception as error:
        report_failure("starting telemetry", error)
    finally:
        state.stepped_aside = not on
        state.active = True
        for name in ("api", "error_tracking", "log_records"):
            release(name)
        with guard("recording what came while telemetry started"):
            early_calls.end(_activation.replay if on else None)
        release_forks()
        state.activating = 0
        state.lock.release()
    if not on:
        import_hooks.forget_imports()
    while _pending:
        _pending.pop(0)()
    if state.interrupted_by:
        _ending.end_by_signal(state, state.interrupted_by)


def release(name: str) -> None:
    """Restore the functions that trampolines of an instrumentor replace."""
    for trampoline in _trampolines.pop(name, ()):
        trampoline.remove()


def _load(name: str, where: str) -> None:
    if not _is_ready(name, where, _START_TIMEOUT_S):
        # The thread that activates telemetry does it afterwards.
        _pending.append(lambda: _load(name, where))


def _instrument_on_import(name: str, where: str) -> "Callable[[ModuleType], None]":
    return lambda _: gevent_patch.outside(lambda: _load(name, where))


def _replace_on_import(owner: str, attribute: str, name: str, where: str) -> "Callable[[ModuleType], None]":
    def install(module: "ModuleType") -> None:
        if state.active and not where:
            return
        place = getattr(module, owner) if owner else module
        if not hasattr(place, attribute):
            return
        waits = (module.__name__, attribute) not in triggers.WITHOUT_WAIT
        _trampolines.setdefault(name, []).append(
            import_hooks.Trampoline(
                place,
                attribute,
                lambda: _is_ready(name, where, _START_TIMEOUT_S if waits else 0.0),
                None if waits else lambda *call: _keep(attribute, *call),
                triggers.calls_left_out(attribute),
            )
        )

    return install


def _is_ready(name: str, where: str, timeout: float) -> bool:
    """Return whether the activation is over. If so, load the instrumentor that ``where`` names."""
    if activate(timeout) and where:
        from otel_distro import _activation

        _activation.load(name, where, release)
    return state.active


def _keep(attribute: str, *call: "Any") -> "Any":
    from otel_distro._startup import early_calls

    return early_calls.call(attribute, *call)


def _prepare_logging(module: "ModuleType") -> None:
    from otel_distro import settings
    from otel_distro._startup import logging_hooks

    logging_hooks.prepare(module, activate)
    if settings.OTEL_DISTRO_LOG_LEVELS.get() or settings.OTEL_DISTRO_LOG_LEVELS_FILE.get():
        # The first record to be exported may be below the level of the application's logger.
        _replace_on_import("Logger", "isEnabledFor", "log_records", "")(module)


def _report(error: BaseException, handler: str, *where: object) -> None:
    if activate(0):
        from otel_distro import _activation

        _activation.record_exception(error, handler, *where)
    elif not state.active:
        from otel_distro._startup import early_calls

        early_calls.keep("exception", error, handler, *where)


def _at_exit() -> None:
    _end_timer()
    hook = sys.excepthook
    error = None
    if hook is not sys.__excepthook__ and not getattr(hook, "is_otel_distro", False):
        # The application set its own hook last, which need not have called this one's.
        error = getattr(sys, "last_value", None)
    if isinstance(error, Exception):
        _report(error, "main")
    elif state.audit_queue:
        activate(0)
    if state.active or state.activating:
        from otel_distro import _ending

        _ending.at_exit(state)
    state.ended = True


def _end_at_once() -> None:
    from otel_distro import _ending

    _ending.before_abrupt_exit(state)


def _on_fatal_signal(number: int, frame: "FrameType | None") -> None:
    if state.active or state.activating:
        from otel_distro import _ending

        _ending.on_fatal_signal(state, number, frame)
    elif signals.restore_default(number):
        # Sent again with the default disposition, so that the exit status is that of the signal.
        os.kill(os.getpid(), number)


def reset_after_fork() -> None:
    """Leave telemetry off in a forked child where another thread was activating it.

    Restart the timer.
    """
    if state.lock.locked() and state.activating != threads.get_ident():
        if state.activating and not state.active:
            # The activating thread is in the parent, and its imports stay incomplete here.
            state.active = state.stepped_aside = True
        state.activating = 0
        state.lock = threads.allocate_lock()
        early_calls: Any = sys.modules.get("otel_distro._startup.early_calls")
        if hasattr(early_calls, "reset_after_fork"):
            early_calls.reset_after_fork()
    _start_timer()


def _start_timer() -> None:
    if state.active or state.delay < 0:
        return
    main = threads.get_ident()

    def run_out() -> None:
        if gevent_patch.is_expected():
            _timer.start(gevent_patch.CHECK_INTERVAL_S, run_out)
            return
        threads.import_threading(main)
        activate()

    _timer.start(_URGENT_DELAY_S if _timer.hurried else state.delay, run_out)


def _end_timer() -> None:
    """Stop the timer and wait for its thread.

    Before a fork, because Python 3.12 warns of a fork in a process with several threads; at the
    end, because Python 3.10 may crash where a thread ends together with the interpreter.
    """
    _timer.end(_TIMER_END_TIMEOUT_S)
