"""Ears for exceptions in a process in which telemetry does not run yet: they start it.

Imported at the start of every process, so nothing else is imported here. ``tell(error, handler)`` starts telemetry and hands over.
"""

import sys

from otel_distro._runtime import import_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    Tell = Callable[..., None]

_TOOL = 4


def install_main_hook(tell: "Tell") -> None:
    """Stand before ``sys.excepthook``."""
    original = sys.excepthook

    def excepthook(kind: "type[BaseException]", error: BaseException, tb: "TracebackType | None") -> None:
        if issubclass(kind, Exception):
            tell(error, "main")
        original(kind, error, tb)

    excepthook.is_otel_distro = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def install_unraisable_hook(tell: "Tell", ended: "Callable[[], bool]") -> None:
    """Stand before ``sys.unraisablehook``. ``ended``: whether it is too late to start anything."""
    original = sys.unraisablehook

    def unraisablehook(unraisable: "Any", /) -> None:
        if isinstance(unraisable.exc_value, Exception) and not ended():
            tell(unraisable.exc_value, "unraisable")
        original(unraisable)

    sys.unraisablehook = unraisablehook


def install_multiprocessing_hook(util: "Any", tell: "Tell") -> None:
    """Hear what ends a child of multiprocessing, before it is printed and gone. ``util``: :mod:`multiprocessing.util`."""
    if sys.version_info < (3, 13):
        # For children that are spawned: they call no functions after a fork.
        util.Finalize(None, tell_of_child, args=(tell,), exitpriority=-1000)
    else:
        # Finalizers run too late there.
        import_hooks.when_imported("traceback", lambda traceback: _hear_printing(traceback, tell))


def tell_of_child(tell: "Tell") -> None:
    """Tell of the exception that is ending this child of multiprocessing, if there is one."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception):
        tell(error, "process")


def _hear_printing(traceback: "Any", tell: "Tell") -> None:
    original = traceback.print_exc

    def print_exc(*args: "Any", **kwargs: "Any") -> None:
        caller = sys._getframe(1)
        if caller.f_code.co_name == "_bootstrap" and caller.f_globals.get("__name__") == "multiprocessing.process":
            tell_of_child(tell)
        original(*args, **kwargs)

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(print_exc, name, getattr(original, name))
    print_exc.__wrapped__ = original  # type: ignore[attr-defined]
    traceback.print_exc = print_exc


def install_monitoring(tell: "Tell", own: "Callable[[str], str]") -> None:
    """Hear the first exception that code of the application catches; Python says so from 3.12 on. ``own``: is it such a file?

    The code and the place in it are told too.
    """
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None or monitoring.get_tool(_TOOL) is not None:
        return

    def caught(code: "Any", offset: int, error: BaseException) -> None:
        if isinstance(error, Exception) and own(code.co_filename):
            tell(error, "swallowed", code, offset)

    monitoring.use_tool_id(_TOOL, "otel_distro")
    monitoring.register_callback(_TOOL, monitoring.events.EXCEPTION_HANDLED, caught)
    monitoring.set_events(_TOOL, monitoring.events.EXCEPTION_HANDLED)
