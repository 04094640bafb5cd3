"""Litestar applications: a request with the template of its route, and what its handlers raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server.asgi import PREFIX_KEY, wrap_method
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Scope = dict[str, Any]

_REST = "/{path:path}"


class LitestarInstrumentor(Instrumentor):
    """Entry point ``litestar``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Litestar that are supported."""
        return ("litestar >= 2.0",)

    def install(self) -> None:
        """Wrap the call of an application, the choice of its route, its exceptions."""
        from litestar import Litestar
        from litestar._asgi.asgi_router import ASGIRouter
        from litestar.routes import ASGIRoute

        self.patch(Litestar, "__call__", wrap_method(Options("LITESTAR", self.arguments)))
        self.patch(ASGIRouter, "__call__", _with_template)
        self.patch(ASGIRoute, "handle", _with_prefix)
        self.patch(Litestar, "__init__", _with_hook)


def _with_template(original: Callable[..., Any]) -> Callable[..., Any]:
    """Set the template when the response starts, or where an exception leaves that becomes one."""

    async def __call__(router: Any, scope: Scope, receive: Any, send: Any) -> None:  # noqa: N807
        request = request_of(scope)
        if request is None:
            await original(router, scope, receive, send)
            return
        prefix, known = scope.get(PREFIX_KEY, ""), False

        def set_template() -> None:
            nonlocal known
            known = True
            with guard("the route of a request"):
                template = scope.get("path_template")
                # A mounted application, which has added to the prefix, sets its own.
                if template and scope.get(PREFIX_KEY, "") == prefix:
                    request.set_route(prefix + template)

        def respond(message: dict[str, Any]) -> Any:
            if not known:
                set_template()
            return send(message)

        try:
            await original(router, scope, receive, respond)
        except Exception:
            set_template()
            raise

    return __call__


def _with_prefix(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle(route: Any, scope: Scope, receive: Any, send: Any) -> None:
        with guard("the route of a request"):
            request = request_of(scope)
            if request is not None and route.route_handler.is_mount:
                scope[PREFIX_KEY] = scope.get(PREFIX_KEY, "") + route.path.rstrip("/")
                request.set_route(scope[PREFIX_KEY] + _REST)
        await original(route, scope, receive, send)

    return handle


def _with_hook(original: Callable[..., Any]) -> Callable[..., Any]:
    def __init__(app: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(app, *args, **kwargs)
        with guard("the exceptions of an application"):
            app.after_exception.append(note_exception)

    return __init__


async def note_exception(error: Exception, scope: Scope) -> None:
    """Note an exception of a handler; Litestar calls it before a response is made of it."""
    with guard("an exception of a request"):
        request = request_of(scope)
        if request is None:
            return
        if scope["type"] == "http":
            request.note_handled(error)
        elif getattr(error, "status_code", 500) >= 500:
            request.fail(error)
