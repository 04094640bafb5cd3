"""OpenTelemetry for Python and your own Grafana.

``opentelemetry-instrument python app.py`` and ``otel-distro run -- python app.py`` need no change
of the program. A program that starts telemetry itself calls :func:`instrument` before anything
else. Importing this package imports nothing of OpenTelemetry.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from otel_distro._version import __version__

__all__ = ["__version__", "instrument"]


def instrument() -> None:
    """Start telemetry in this process, as ``otel-distro run`` and ``opentelemetry-instrument`` do.

    Libraries that are imported already are instrumented now, the others when they are imported.
    A second call does nothing. It never raises: a failure is reported in one line on stderr.
    """
    from otel_distro import _boot

    _boot.start()


def __getattr__(name: str) -> str:
    # Imported on access: one module less at the start of every process.
    if name == "__version__":
        from otel_distro._version import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
