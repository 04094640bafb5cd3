"""The first thing that runs in an instrumented process, and in most processes the only thing.

Nothing of OpenTelemetry is imported here. The boot lays traps: on the import of a library that has an instrumentor, on
the first log record, the first uncaught exception, the first HTTP call, and a timer for processes that live on. A process
that does nothing worth telling, like the two hundred children of a test run, ends before any of them springs.
"""

import atexit
import os
import sys

from otel_distro._runtime import import_hooks, signals, threads
from otel_distro._runtime.diagnostics import report_failure, say
from otel_distro._startup import exception_hooks, triggers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any

_SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_site")
_UPSTREAM_SITE = os.path.join("opentelemetry", "instrumentation", "auto_instrumentation")

_state: "dict[str, Any]" = {
    "started": False,
    "active": False,
    "activating": 0,
    "stepped_aside": False,
    "delay": -1.0,
    "finishing": False,
    "ended": False,
    "killed_by": 0,
}
_PATIENCE = 2.0
_FORK_PATIENCE = 10.0
"""Longer, because a child of a process that is importing may wait for ever for what was imported by halves."""
_URGENT_DELAY_S = 0.05
_END_PATIENCE = 0.25

_pending: "list[Callable[[], None]]" = []
_trampolines: "dict[str, list[import_hooks.Trampoline]]" = {}
_timer = threads.Timer()
_activation_lock = threads.allocate_lock()
"""Held by the thread that starts telemetry."""


def takeover() -> None:
    """Take the place of upstream's ``sitecustomize`` under ``opentelemetry-instrument``; called by the ``.pth`` file.

    In the process of that command itself only the environment is checked, before upstream reads it there: a propagator
    that is not installed would end it. We give way to another distribution that the user chose.
    """
    environ = os.environ
    if _another_is_chosen(environ):
        return
    entries = environ.get("PYTHONPATH", "").split(os.pathsep)
    theirs = [entry for entry in entries if entry.rstrip(os.sep).endswith(_UPSTREAM_SITE)]
    if not theirs:
        _check_environment()
        return
    # Children find our folder there, which costs them less and gives way to the user's own sitecustomize.
    kept = [entry for entry in entries if entry not in theirs and entry != _SITE]
    environ["PYTHONPATH"] = os.pathsep.join([_SITE, *kept])
    sys.path[:] = [entry for entry in sys.path if not entry.rstrip(os.sep).endswith(_UPSTREAM_SITE)]
    start()


def _another_is_chosen(environ: "Mapping[str, str]") -> bool:
    for kind in ("distro", "configurator"):
        name = environ.get(f"OTEL_PYTHON_{kind.upper()}", "").strip()
        if name not in ("", "otel_distro"):
            from importlib.metadata import entry_points

            # One that is not installed is a bad value like others, and the check says so.
            if entry_points(group=f"opentelemetry_{kind}", name=name):
                return True
    return False


def _check_environment() -> None:
    from otel_distro import environment

    for line in environment.prepare(os.environ):
        say(line)


def start() -> None:
    """Lay the traps. Never raises; a second call does nothing."""
    if _state["started"]:
        return
    _state["started"] = True
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
    _patch_gevent()
    disabled = _disabled_instrumentors(os.environ)
    if "security_audit" not in disabled and settings.OTEL_DISTRO_AUDIT_KINDS.name in os.environ:
        _audit_from_the_start()
    for module, name, where in triggers.ON_IMPORT:
        if name not in disabled:
            import_hooks.when_imported(module, _instrument_on_import(name, where))
    for module, owner, attribute, name, where in triggers.FIRST_CALL:
        if name not in disabled:
            import_hooks.when_imported(module, _trampoline_on_import(owner, attribute, name, where))
    if "log_records" not in disabled:
        import_hooks.when_imported("logging", _prepare_logging)
    for module in triggers.STARTS_TELEMETRY:
        import_hooks.when_imported(module, lambda _: void(activate()))
    import_hooks.when_imported("multiprocessing.util", _finish_with_multiprocessing)
    if "error_tracking" not in disabled:
        exception_hooks.install_main_hook(_tell)
        exception_hooks.install_unraisable_hook(_tell, lambda: bool(_state["ended"]))
        if settings.OTEL_DISTRO_SILENT_EXCEPTIONS.get():
            from otel_distro.errors import frames

            exception_hooks.install_monitoring(_tell, frames.own_name)
    atexit.register(_at_exit)
    signals.handle(_die)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_end_timer, after_in_parent=_start_timer, after_in_child=_after_fork_in_child)
    _state["delay"] = settings.OTEL_DISTRO_PROCESS_METRICS_DELAY.get()
    _start_timer()


def _audit_from_the_start() -> None:
    """Put the audit hook in before anything of the application runs, where the user has asked for it."""
    from otel_distro._startup import audit_hook, audit_rules

    kinds = audit_rules.kinds_wanted()
    if kinds <= audit_rules.WITHOUT_HOOK:
        return
    state = audit_hook.state
    state.context = lambda: audit_hook.OURS if _state["activating"] == threads.get_ident() else None
    # Called where nothing more may be done: inside the audit hook.
    state.wake = _timer.hurry
    _state["audited"] = state.waiting
    audit_hook.start(kinds)


def activate(patience: float = _PATIENCE) -> bool:
    """Start the SDK and the instrumentors that run always; return whether telemetry is on in this process.

    Called by whatever happens first. While one thread is at it, others wait a moment for it, so that what they are about
    to tell is not lost; but not longer than ``patience`` seconds, for they may hold an import lock that it needs.
    """
    if _state["active"]:
        return not _state["stepped_aside"]
    if _state["activating"] == threads.get_ident():
        return False
    if not _activation_lock.acquire(False):
        if _activation_lock.acquire(True, patience):
            _activation_lock.release()
        return _state["active"] and not _state["stepped_aside"]
    if _state["active"]:
        # Another thread has come to its end with it just now.
        _activation_lock.release()
        return not _state["stepped_aside"]
    fork: Any = getattr(os, "fork", None)
    later = _fork_later(fork) if fork is not None else None
    if later is not None:
        os.fork = later
    _state["activating"] = threads.get_ident()
    _timer.stop()
    on = False
    release("api")
    try:
        from otel_distro import _activation

        on = _activation.start(_disabled_instrumentors(os.environ), release)
    except Exception as error:
        report_failure("starting telemetry", error)
    finally:
        _state["stepped_aside"] = not on
        _state["active"] = True
        _state["activating"] = 0
        if later is not None and os.fork is later:
            os.fork = fork
        _activation_lock.release()
    if not on:
        import_hooks.forget_imports()
    while _pending:
        _pending.pop(0)()
    return on


def release(name: str) -> None:
    """Put back the functions in whose places trampolines of instrumentor ``name`` stand."""
    for trampoline in _trampolines.pop(name, ()):
        trampoline.remove()


def _load(name: str, where: str) -> None:
    if activate():
        from otel_distro import _activation

        release(name)
        _activation.load(name, where)
    elif not _state["active"]:
        # The thread that is starting telemetry does it when it is through.
        _pending.append(lambda: _load(name, where))


def _instrument_on_import(name: str, where: str) -> "Callable[[ModuleType], None]":
    return lambda _: _load(name, where)


def _trampoline_on_import(owner: str, attribute: str, name: str, where: str) -> "Callable[[ModuleType], None]":
    def install(module: "ModuleType") -> None:
        if (_state["active"] or _state["activating"]) and not where:
            return
        place = getattr(module, owner) if owner else module
        if not hasattr(place, attribute):
            return
        first = (lambda: _load(name, where)) if where else (lambda: void(activate()))
        _trampolines.setdefault(name, []).append(import_hooks.Trampoline(place, attribute, first))

    return install


def _prepare_logging(module: "ModuleType") -> None:
    from otel_distro import settings
    from otel_distro._startup import logging_hooks

    logging_hooks.prepare(module, activate)
    if settings.OTEL_DISTRO_LOG_LEVELS.get() or settings.OTEL_DISTRO_LOG_LEVELS_FILE.get():
        # The first record that is to be exported may be one that the application does not want.
        _trampoline_on_import("Logger", "isEnabledFor", "log_records", "")(module)


def void(_: object) -> None:
    """Drop a result."""


def _disabled_instrumentors(environ: "Mapping[str, str]") -> "set[str]":
    names = {name.strip() for name in environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    if "*" in names:
        names.update(row[1] for row in triggers.ON_IMPORT)
        # What the program makes itself with the API is nobody's instrumentation.
        names.update(row[3] for row in triggers.FIRST_CALL if row[3] != "api")
        names.update(row[0] for row in triggers.ALWAYS)
    return names


def _patch_gevent() -> None:
    # The check of the environment leaves no other value than upstream's one, `patch_all`.
    if "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH" not in os.environ:
        return
    try:
        from gevent import monkey
    except ImportError:
        say("OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH is set but gevent is not installed")
        return
    monkey.patch_all()


def _tell(error: BaseException, handler: str, *where: object) -> None:
    if activate():
        from otel_distro import _activation

        _activation.record_exception(error, handler, *where)


def _at_child_end() -> None:
    exception_hooks.tell_of_child(_tell)
    _at_exit()


def _at_exit() -> None:
    _end_timer()
    hook = sys.excepthook
    error = None
    if hook is not sys.__excepthook__ and not getattr(hook, "is_otel_distro", False):
        # The application's own hook stood last: whether it passed the exception on to us or not, this is the one.
        error = getattr(sys, "last_value", None)
    if (isinstance(error, Exception) or _state.get("audited")) and not _state["active"]:
        activate()
    _state["ended"] = True
    if _state["active"] and not _state["stepped_aside"]:
        from otel_distro import _activation

        if isinstance(error, Exception):
            _activation.uncaught(error)
        _finish()


def _finish() -> None:
    """Deliver what waits. A signal that comes meanwhile ends the process when that is done: it takes a bounded time."""
    from otel_distro import _activation

    _state["finishing"] = True
    try:
        _activation.finish()
    finally:
        _state["finishing"] = False
        if _state["killed_by"]:
            os.kill(os.getpid(), _state["killed_by"])


def _die(number: int, _: object) -> None:
    # Raised again with its default disposition, so that the exit status stays what it was.
    if not signals.let_go(number):
        return
    _state["killed_by"] = number
    if _state["finishing"]:
        return
    if _state["active"] and not _state["stepped_aside"]:
        _finish()
    else:
        os.kill(os.getpid(), number)


def _finish_with_multiprocessing(util: "Any") -> None:
    """Children of multiprocessing end in ``os._exit``: they run its finalizers and no atexit functions.

    Those that are spawned do run them, and no functions to be called after a fork.
    """

    class Anchor:
        pass

    _state["anchor"] = anchor = Anchor()
    util.register_after_fork(anchor, lambda _: util.Finalize(None, _at_child_end, exitpriority=-1000))
    exception_hooks.install_multiprocessing_hook(util, _tell)


def _fork_later(fork: "Callable[[], int]") -> "Callable[[], int]":
    """Return an ``os.fork`` for the time in which telemetry starts: another thread that forks waits a moment for that.

    The child would have half of it, and imports that never end. Functions registered to be called before a fork come too
    late for waiting: those of :mod:`logging`, for one, hold its lock.
    """

    def wait_and_fork() -> int:
        activate(_FORK_PATIENCE)
        return fork()

    return wait_and_fork


def _after_fork_in_child() -> None:
    if _activation_lock.locked() and _state["activating"] != threads.get_ident():
        # The thread that was starting telemetry is the parent's, and so is what it has imported by halves.
        _state["activating"], _state["active"], _state["stepped_aside"] = 0, True, True
    _start_timer()


def _start_timer() -> None:
    if _state["active"] or _state["delay"] < 0:
        return
    main = threads.get_ident()

    def run_out() -> None:
        threads.import_threading(main)
        activate()

    _timer.start(_URGENT_DELAY_S if _timer.hurried else _state["delay"], run_out)


def _end_timer() -> None:
    """Let the timer end and wait for its thread, if it waits.

    Before a fork, because Python 3.12 warns whoever forks with more than one; at the end, because Python 3.10 crashes now
    and then where a thread ends beside the interpreter.
    """
    _timer.end(_END_PATIENCE)
