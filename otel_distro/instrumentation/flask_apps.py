"""Flask applications: a request with the rule that matched, and what its views raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import upstream, wsgi
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class FlaskInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``flask``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Flask that are supported."""
        return ("flask >= 1.0",)

    def install(self) -> None:
        """Wrap the call of an application, the match of its rule, and its handling of exceptions."""
        from flask import Flask
        from flask.ctx import RequestContext

        chosen = Options("FLASK", self.arguments)
        upstream.adopt(chosen, "opentelemetry.instrumentation.flask", "FlaskInstrumentor")
        self.patch(Flask, "__call__", wsgi.wrap_method(chosen))
        self.patch(RequestContext, "match_request", _with_route)
        self.patch(Flask, "handle_exception", _with_exception)


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def match_request(context: Any) -> Any:
        result = original(context)
        with guard("the route of a request"):
            environ = context.request.environ
            request, rule = wsgi.request_of(environ), context.request.url_rule
            if request is not None and rule is not None:
                # A dispatcher moves the prefix under which it has mounted the application there.
                request.set_route(environ.get("SCRIPT_NAME", "") + rule.rule)
        return result

    return match_request


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def handle_exception(app: Any, *arguments: Any) -> Any:
        with guard("an exception of a request"):
            from flask import request as current

            request = wsgi.request_of(current.environ)
            if request is not None:
                request.fail(arguments[-1])
        return original(app, *arguments)

    return handle_exception
