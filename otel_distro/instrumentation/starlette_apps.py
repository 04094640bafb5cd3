"""Starlette and FastAPI applications: a request with the whole template of its route.

A mounted application sees only the rest of the path. Each ``Mount`` on the way down therefore adds
its template to the scope, and the route that answers sets the sum on the request.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.context import detach

from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro._startup import triggers
from otel_distro.errors import answers
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import fastapi_telemetry, upstream
from otel_distro.instrumentation._http_server.asgi import MOUNTED_KEY, PREFIX_KEY, wrap_method
from otel_distro.instrumentation._http_server.carrier import CARRIER_KEY, current, exclude, request_of
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation._http_server.request import ServerRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    Scope = dict[str, Any]

_REST = "/{path:path}"
_TASK = "the route of a request"
_MARK = "__otel_distro_routes__"


class StarletteInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``starlette``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Starlette that are supported."""
        return ("starlette >= 0.13",)

    def install(self) -> None:
        """Wrap the call of an application and the handling of its routes."""
        from starlette.applications import Starlette

        _patch_routes(self)
        chosen = Options("STARLETTE", self.arguments)
        upstream.adopt(self, chosen, "opentelemetry.instrumentation.starlette", "StarletteInstrumentor")
        no_fastapi = "fastapi" in triggers.disabled(os.environ)
        self.patch(Starlette, "__call__", _except_fastapi(chosen) if no_fastapi else wrap_method(chosen))


class FastAPIInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``fastapi``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of FastAPI that are supported."""
        return ("fastapi >= 0.58",)

    def install(self) -> None:
        """Wrap the call of an application and the handling of its routes."""
        from fastapi import FastAPI, routing

        _patch_routes(self)
        if "handle" in vars(routing.APIRoute):
            self.patch(routing.APIRoute, "handle", _included_route)
        frontend = getattr(routing, "_FrontendRoute", None)
        if frontend is not None:
            self.patch(frontend, "handle", _frontend)
        chosen = Options("FASTAPI", self.arguments)
        upstream.adopt(self, chosen, "opentelemetry.instrumentation.fastapi", "FastAPIInstrumentor")
        record = wrap_method(chosen)
        self.patch(FastAPI, "__call__", lambda original: record(_without_own_telemetry(original)))


def _except_fastapi(chosen: Options) -> Callable[..., Any]:
    """Return what wraps ``Starlette.__call__`` and leaves its subclass FastAPI alone."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        recorded = wrap_method(chosen)(original)

        async def __call__(app: Any, *arguments: Any) -> None:  # noqa: N807
            is_fastapi = any(base.__module__.startswith("fastapi.") for base in type(app).__mro__)
            await (original if is_fastapi else recorded)(app, *arguments)

        __call__.__dict__.update(recorded.__dict__)
        return __call__

    return wrap


def _without_own_telemetry(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``FastAPI.__call__`` without FastAPI's own telemetry.

    A request that the application excludes from that is not recorded.
    """

    async def __call__(app: Any, scope: Scope, receive: Any, send: Any) -> None:  # noqa: N807
        excluded = False
        try:
            excluded = fastapi_telemetry.excludes(app, scope)
            fastapi_telemetry.silence(app, scope)
            if app.root_path and not scope.get("path", "").startswith(app.root_path):
                # A proxy has taken it off the path.
                scope[MOUNTED_KEY] = app.root_path.rstrip("/")
        except Exception as error:
            report_failure("FastAPI's own telemetry", error)
        request = request_of(scope) if excluded else None
        if request is None:
            await original(app, scope, receive, send)
            return
        token = exclude(scope, request)
        try:
            await original(app, scope, receive, send)
        finally:
            detach(token)

    return __call__


def _patch_routes(instrumentor: Instrumentor) -> None:
    """Wrap what handles a matched route. The instrumentor that comes first does it for both."""
    from starlette import routing

    if getattr(routing.Route.handle, _MARK, False):
        return
    instrumentor.patch(routing.Route, "handle", _route)
    instrumentor.patch(routing.WebSocketRoute, "handle", _route)
    instrumentor.patch(routing.Mount, "handle", _mount)
    middlewares = sys.modules.get("starlette.middleware.exceptions") or sys.modules.get("starlette.exceptions")
    older = getattr(middlewares, "ExceptionMiddleware", None)
    handlers: Any = sys.modules.get("starlette._exception_handler", older)
    if hasattr(handlers, "_lookup_exception_handler"):
        instrumentor.patch(handlers, "_lookup_exception_handler", _with_exception)


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what looks for the handler of an exception that leaves a route."""

    def _lookup_exception_handler(*arguments: Any) -> Any:
        with guard("an exception of a request"):
            error, request = arguments[-1], current()
            if request is not None and not answers.kind_of(error):
                # After the first byte no handler is called, and a middleware may end the response.
                (request.fail if request.status else request.note_handled)(error)
        return original(*arguments)

    return _lookup_exception_handler


def _route(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    def handle(route: Any, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        try:
            request = scope.get(CARRIER_KEY)
            if type(request) is ServerRequest:
                request.route = scope.get(PREFIX_KEY, "") + route.path
        except Exception as error:
            report_failure(_TASK, error)
        return original(route, scope, receive, send)

    setattr(handle, _MARK, True)
    return handle


def _included_route(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Wrap ``APIRoute.handle``: the prefix of an included router is elsewhere."""

    def handle(route: Any, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        try:
            found = scope.get("fastapi")
            context = found.get("effective_route_context") if found else None
            if context is not None and context.original_route is route:
                request = scope.get(CARRIER_KEY)
                if type(request) is ServerRequest:
                    request.route = scope.get(PREFIX_KEY, "") + context.path
        except Exception as error:
            report_failure(_TASK, error)
        return original(route, scope, receive, send)

    return handle


def _frontend(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Wrap the routes of ``FastAPI.frontend()``, each a folder of files."""

    def handle(route: Any, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        with guard(_TASK):
            if (request := request_of(scope)) is not None:
                context = (scope.get("fastapi") or {}).get("effective_route_context")
                included = getattr(context, "frontend_prefix", "") or ""
                request.set_route(scope.get(PREFIX_KEY, "") + included + route.path.rstrip("/") + _REST)
        return original(route, scope, receive, send)

    return handle


def _mount(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    def handle(mount: Any, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        with guard(_TASK):
            if (request := request_of(scope)) is not None:
                prefix = scope[PREFIX_KEY] = scope.get(PREFIX_KEY, "") + mount.path
                scope[MOUNTED_KEY] = scope.get("root_path", "").rstrip("/")
                # Where the application has routes, a path that none of them matches has no template.
                request.set_route("" if getattr(mount, "routes", None) else prefix + _REST)
        return original(mount, scope, receive, send)

    return handle
