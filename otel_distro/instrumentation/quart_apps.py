"""Quart applications: a request with the rule that matched, and what its views raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server.asgi import PREFIX_KEY, wrap_method
from otel_distro.instrumentation._http_server.carrier import current, request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class QuartInstrumentor(Instrumentor):
    """Entry point ``quart``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Quart that are supported."""
        return ("quart >= 0.18",)

    def install(self) -> None:
        """Wrap the call of an application, the match of its rule, its exceptions."""
        import quart.ctx
        from quart import Quart

        self.patch(Quart, "__call__", wrap_method(Options("QUART", self.arguments)))
        # Quart 0.23 has one context of all kinds; before, that of the application matches nothing.
        older = getattr(quart.ctx, "_BaseRequestWebsocketContext", None)
        self.patch(older or quart.ctx.AppContext, "match_request", _with_route)
        self.patch(Quart, "handle_exception", _with_exception)
        self.patch(Quart, "handle_websocket_exception", _with_exception)


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def match_request(context: Any) -> Any:
        result = original(context)
        with guard("the route of a request"):
            message = getattr(context, "_request_websocket", None) or context.request_websocket
            scope, rule = message.scope, message.url_rule
            request = request_of(scope)
            if request is not None and rule is not None:
                request.set_route(scope.get(PREFIX_KEY, "") + rule.rule)
        return result

    return match_request


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle_exception(app: Any, *arguments: Any) -> Any:
        with guard("an exception of a request"):
            request = current()
            if request is not None:
                # The last argument; before it Quart 0.23 has the context.
                request.fail(arguments[-1])
        return await original(app, *arguments)

    return handle_exception
