"""Exception hooks used before the SDK is built; the first exception builds it.

Imported at the start of every instrumented process, so it imports next to nothing. ``report(error,
handler)`` starts telemetry and hands the exception over; ``handler`` names the hook.
"""

import sys

from otel_distro._runtime import import_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    Report = Callable[..., None]

_MONITORING_TOOL_ID = 4


def install_main_hook(report: "Report") -> None:
    """Chain in before ``sys.excepthook``."""
    original = sys.excepthook

    def excepthook(kind: "type[BaseException]", error: BaseException, tb: "TracebackType | None") -> None:
        if issubclass(kind, Exception):
            report(error, "main")
        original(kind, error, tb)

    excepthook.is_otel_distro = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def install_unraisable_hook(report: "Report", ended: "Callable[[], bool]") -> None:
    """Chain in before ``sys.unraisablehook``.

    Args:
        report: See the module.
        ended: Whether it is too late to start telemetry.
    """
    original = sys.unraisablehook

    def unraisablehook(unraisable: "Any", /) -> None:
        if isinstance(unraisable.exc_value, Exception) and not ended():
            report(unraisable.exc_value, "unraisable")
        original(unraisable)

    sys.unraisablehook = unraisablehook


_anchors: "list[object]" = []
"""Keep registrations with multiprocessing alive."""


def follow_multiprocessing(util: "Any", report: "Report", at_exit: "Callable[[], None]") -> None:
    """Run the exit function in children of multiprocessing, which end in ``os._exit``.

    What ends a child is reported before it is printed. Forked children run the finalizers of
    multiprocessing and no functions of atexit. Spawned children run those, and no callbacks after a
    fork.

    Args:
        util: :mod:`multiprocessing.util`.
        report: See the module.
        at_exit: The exit function.
    """

    class Anchor:
        pass

    def at_child_end() -> None:
        report_child_exception(report)
        at_exit()

    _anchors.append(Anchor())
    util.register_after_fork(_anchors[-1], lambda _: util.Finalize(None, at_child_end, exitpriority=-1000))
    if sys.version_info < (3, 13):
        # For spawned children, which run no callbacks after a fork.
        util.Finalize(None, report_child_exception, args=(report,), exitpriority=-1000)
    else:
        # Finalizers run too late in these versions.
        import_hooks.when_imported("traceback", lambda traceback: _hook_printing(traceback, report))


def report_child_exception(report: "Report") -> None:
    """Report the exception that ends this child of multiprocessing, if there is one."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception):
        report(error, "process")


def _hook_printing(traceback: "Any", report: "Report") -> None:
    original = traceback.print_exc

    def print_exc(*args: "Any", **kwargs: "Any") -> None:
        caller = sys._getframe(1)
        if caller.f_code.co_name == "_bootstrap" and caller.f_globals.get("__name__") == "multiprocessing.process":
            report_child_exception(report)
        original(*args, **kwargs)

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(print_exc, name, getattr(original, name))
    print_exc.__wrapped__ = original  # type: ignore[attr-defined]
    traceback.print_exc = print_exc


def install_monitoring(report: "Report", is_own: "Callable[[str], str]") -> None:
    """Report the first exception that code of the application catches; from Python 3.12 on.

    Args:
        report: See the module; called with the code and the offset in it, too.
        is_own: Whether a file is the application's.
    """
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None or monitoring.get_tool(_MONITORING_TOOL_ID) is not None:
        return

    def caught(code: "Any", offset: int, error: BaseException) -> None:
        if isinstance(error, Exception) and is_own(code.co_filename):
            report(error, "swallowed", code, offset)

    monitoring.use_tool_id(_MONITORING_TOOL_ID, "otel_distro")
    monitoring.register_callback(_MONITORING_TOOL_ID, monitoring.events.EXCEPTION_HANDLED, caught)
    monitoring.set_events(_MONITORING_TOOL_ID, monitoring.events.EXCEPTION_HANDLED)
