"""FastAPI's own telemetry (0.163 and later): the source of a request's telemetry, or silent.

FastAPI makes a SERVER span, metrics and log events of its own where the process has an SDK, and can
add exporters to it. Here it is silent for each request that the distribution records. Where that
instrumentation is disabled it is the source: then a failure is recorded as everywhere else, and the
exporters of the distribution, which redact, stay the only ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

from otel_distro._otel import logs
from otel_distro._runtime.diagnostics import guard
from otel_distro.errors import exception_state
from otel_distro.instrumentation._http_server.carrier import CARRIER_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    Scope = dict[str, Any]

_KEY = "fastapi.telemetry"
_TASK = "FastAPI's own telemetry"


def _logger_provider() -> Any:
    # Looked up late: the first look imports the API of logs.
    return logs.get_logger_provider()


_SIGNALS = (
    ("tracing", "tracer_provider", trace.get_tracer_provider),
    ("metrics", "meter_provider", metrics.get_meter_provider),
    ("logs", "logger_provider", _logger_provider),
)


def silence(app: Any, scope: Scope) -> None:
    """Keep FastAPI's telemetry out of a request that is recorded.

    It leaves requests alone that have its key in the scope, as those of its mounted applications.
    Telemetry that the application sends through providers of its own stays.
    """
    config = app.__dict__.get("_telemetry")
    if config is not None and scope["type"] != "lifespan" and not _uses_own_providers(config):
        scope[_KEY] = None


def excludes(app: Any, scope: Scope) -> bool:
    """Return whether ``FastAPI(telemetry={"exclude": ...})`` leaves this request out."""
    exclude = (app.__dict__.get("_telemetry") or {}).get("exclude")
    return exclude is not None and scope["type"] != "lifespan" and bool(exclude(scope))


def _uses_own_providers(config: dict[str, Any]) -> bool:
    return any(_is_own(config, name, get) for _, name, get in _SIGNALS)


def _is_own(config: dict[str, Any], name: str, get: Callable[[], Any]) -> bool:
    """Return whether a provider was given that is not the one of the process."""
    given = config.get(name)
    return given is not None and given is not get()


def _limited(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without the signals that go to the providers of the process."""
    limited = dict(config)
    for signal, name, get in _SIGNALS:
        limited[signal] = bool(config.get(signal)) and _is_own(config, name, get)
    return limited


def adapt(module: Any) -> None:
    """Make the module ``fastapi.telemetry._asgi`` silent where a request is recorded."""
    with guard(_TASK):
        native = module.NativeTelemetry
        native.__call__ = _silent_where_recorded(native.__call__)
        module._exception = _without_event(module._exception)


def _silent_where_recorded(original: Callable[..., Any]) -> Callable[..., Any]:
    async def __call__(native: Any, *, app: Any, scope: Scope, receive: Any, send: Any, **more: Any) -> None:  # noqa: N807
        config = native.config
        if CARRIER_KEY in scope:
            if not _uses_own_providers(config):
                await app(scope, receive, send)
                return
            config.update(_limited(config))
        elif not _is_own(config, "tracer_provider", trace.get_tracer_provider):
            # One span for a request: none for its dependencies, its endpoint and its serialization.
            config["operation_spans"] = False
        await original(native, app=app, scope=scope, receive=receive, send=send, **more)

    return __call__


def _without_event(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``_exception`` without its log event: the server logs the same exception."""

    def _exception(*, scope: Scope, exc: BaseException) -> None:
        telemetry = scope.get(_KEY)
        logger = getattr(telemetry, "logger", None)
        if telemetry is None or logger is None:
            original(scope=scope, exc=exc)
            return
        with guard(_TASK):
            exception_state.remember_span(exc, trace.get_current_span().get_span_context())
        telemetry.logger = None
        try:
            original(scope=scope, exc=exc)
        finally:
            telemetry.logger = logger

    return _exception


def keep_exporters(module: Any) -> None:
    """Let ``fastapi.telemetry._runtime`` add no exporter to the providers of the process."""
    with guard(_TASK):
        original = module._configure_from_environment

        def _configure_from_environment(config: dict[str, Any]) -> None:
            """Add exporters only to providers that the application has given."""
            original(_limited(config))

        module._configure_from_environment = _configure_from_environment
