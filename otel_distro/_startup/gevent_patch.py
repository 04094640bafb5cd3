"""Upstream's variable that lets gevent patch the standard library before the program starts."""

from otel_distro._runtime.diagnostics import say


def apply() -> None:
    """Let gevent patch the standard library.

    The check of the environment leaves only the value ``patch_all``, the one that upstream knows.
    """
    try:
        from gevent import monkey
    except ImportError:
        say(
            "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH is set but gevent is not installed: "
            "nothing is patched; install gevent or unset the variable",
            code="OD101",
        )
        return
    monkey.patch_all()
