"""OpenTelemetry for Python and your own Grafana.

``opentelemetry-instrument python app.py`` and ``otel-distro run -- python app.py`` need no line of code; a program
that prefers one calls :func:`instrument` first thing. Importing this package imports nothing of OpenTelemetry.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from otel_distro._version import __version__

__all__ = ["__version__", "instrument"]


def instrument() -> None:
    """Start telemetry in this process: the same path as ``otel-distro run`` and ``opentelemetry-instrument`` take.

    Libraries imported later are instrumented when they are imported, libraries imported already are instrumented now.
    Calling it twice is harmless. It never raises: what cannot be started is reported in one line on stderr.
    """
    from otel_distro import _boot

    _boot.start()


def __getattr__(name: str) -> str:
    # Imported on access: one module less at the start of every process.
    if name == "__version__":
        from otel_distro._version import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
