"""Programs that call upstream's instrumentors or its middleware themselves.

Their arguments, such as hooks and excluded URLs, apply to the instrumentation of this package, and
upstream's own is not added to it: a request would have two spans and two measurements. Where the
user has disabled an instrumentor here, upstream's is left as it is.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation._http_server import asgi, wsgi
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_distro.instrumentation import Instrumentor

_MARK: Final = "_is_instrumented_by_opentelemetry"
_OPTIONS: Final = "_otel_distro_options"
_NOTHING: Final = ".*"
"""Excludes every URL."""


def adopt(
    instrumentor: Instrumentor,
    chosen: Options,
    module: str,
    name: str,
    adapt: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Let upstream's instrumentor of a framework only pass on what it is given.

    Args:
        instrumentor: The framework's instrumentor of this package, whose un-patching undoes it.
        chosen: Its options.
        module: Where upstream's is.
        name: Class of upstream's.
        adapt: Makes arguments for :class:`Options` out of those of upstream's.
    """

    def patch(loaded: ModuleType) -> None:
        with guard(f"taking the arguments of {name}"):
            _patch_instrumentor(instrumentor, chosen, getattr(loaded, name), adapt)

    import_hooks.when_imported(module, patch)


def _patch_instrumentor(
    instrumentor: Instrumentor, chosen: Options, upstream: Any, adapt: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    def instrument(_: Any, **arguments: Any) -> None:
        chosen.set(adapt(arguments))

    def uninstrument(_: Any, **arguments: Any) -> None:
        chosen.set({"excluded_urls": _NOTHING})

    instrumentor.patch(upstream, "_instrument", lambda _: instrument)
    instrumentor.patch(upstream, "_uninstrument", lambda _: uninstrument)
    original = getattr(upstream, "instrument_app", None)
    if original is None:
        return
    parameters = inspect.signature(original)

    def instrument_app(*args: Any, **kwargs: Any) -> None:
        given = parameters.bind(*args, **kwargs).arguments
        given.pop("self", None)
        app = given.pop("app")
        given.update(given.pop("kwargs", {}))
        chosen.set(adapt(given), app)
        _mark(app, value=True)

    def uninstrument_app(*args: Any) -> None:
        chosen.set({"excluded_urls": _NOTHING}, args[-1])
        _mark(args[-1], value=False)

    for attribute, replacement in (("instrument_app", instrument_app), ("uninstrument_app", uninstrument_app)):
        if hasattr(upstream, attribute):
            instrumentor.patch_static(upstream, attribute, replacement)


def adopt_by_restart(instrumentor: Instrumentor, module: str, name: str) -> None:
    """Let upstream's instrumentor of a framework install the one of this package again.

    It passes the arguments that it is given.

    Args:
        instrumentor: The framework's instrumentor of this package.
        module: Where upstream's is.
        name: Class of upstream's.
    """

    def instrument(_: Any, **arguments: Any) -> None:
        instrumentor.uninstrument()
        instrumentor.instrument(skip_dep_check=True, **arguments)

    def uninstrument(_: Any, **arguments: Any) -> None:
        instrumentor.uninstrument()

    def patch(loaded: ModuleType) -> None:
        with guard(f"taking the arguments of {name}"):
            upstream = getattr(loaded, name)
            instrumentor.patch(upstream, "_instrument", lambda _: instrument)
            instrumentor.patch(upstream, "_uninstrument", lambda _: uninstrument)
            if hasattr(upstream, "instrument_config"):
                # Pyramid's: it would add a tween.
                instrumentor.patch_static(upstream, "instrument_config", lambda config: None)

    import_hooks.when_imported(module, patch)


def _mark(app: Any, *, value: bool) -> None:
    with guard("marking an application as instrumented"):
        setattr(app, _MARK, value)


def adopt_middleware(module: ModuleType) -> None:
    """Let upstream's ``OpenTelemetryMiddleware`` of WSGI or ASGI make the request of this package.

    Inside a request that is recorded already it calls its hooks and passes on.
    """
    with guard(f"replacing the middleware of {module.__name__}"):
        middleware: Any = module.OpenTelemetryMiddleware
        adopted = _asgi_call if module.__name__.endswith(".asgi") else _wsgi_call
        middleware.__call__ = functools.wraps(middleware.__call__)(adopted)


def _wsgi_call(middleware: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    chosen = _options_of(middleware, "WSGI", "request_hook", "response_hook")
    request = request_of(environ)
    if request is None:
        return wsgi.wrap_application(middleware.wsgi, chosen)(environ, start_response)
    return wsgi.call_with_hooks(middleware.wsgi, request, environ, start_response, chosen)


async def _asgi_call(middleware: Any, scope: dict[str, Any], receive: Any, send: Any) -> None:
    names = ("server_request_hook", "client_request_hook", "client_response_hook", "excluded_urls")
    chosen = _options_of(middleware, "ASGI", *names)
    request = request_of(scope)
    if request is None:
        await asgi.wrap_application(middleware.app, chosen)(scope, receive, send)
    else:
        await asgi.call_with_hooks(middleware.app, request, scope, receive, send, chosen)


def _options_of(middleware: Any, framework: str, *names: str) -> Options:
    found: Options | None = middleware.__dict__.get(_OPTIONS)
    if found is None:
        given = {name: value for name in names if (value := getattr(middleware, name, None)) is not None}
        excluded = getattr(given.pop("excluded_urls", None), "_excluded_urls", None)
        if excluded:
            given["excluded_urls"] = ",".join(excluded)
        found = middleware.__dict__[_OPTIONS] = Options(framework, given)
    return found
