"""Bottle applications: a request with the rule that matched, and what its callbacks raise.

Upstream has no instrumentor of Bottle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import wsgi
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class BottleInstrumentor(Instrumentor):
    """Entry point ``bottle``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Bottle that are supported."""
        return ("bottle >= 0.12",)

    def install(self) -> None:
        """Wrap the call of an application, the match of its rule, and its error handling."""
        from bottle import Bottle, Router

        self.patch(Bottle, "__call__", wsgi.wrap_method(Options("BOTTLE", self.arguments)))
        self.patch(Router, "match", _with_route)
        self.patch(Bottle, "_handle", _with_exception)


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def match(router: Any, environ: dict[str, Any]) -> Any:
        result = original(router, environ)
        with guard("the route of a request"):
            request, rule = request_of(environ), getattr(result[0], "rule", None)
            if request is not None and type(rule) is str:
                # The rule of a merged application has the prefix of its mount; one that is mounted as
                # an application of its own finds the prefix in the environment.
                request.set_mounted_route(environ.get("SCRIPT_NAME", ""), rule)
        return result

    return match


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def _handle(app: Any, environ: dict[str, Any]) -> Any:
        response = original(app, environ)
        with guard("an exception of a request"):
            error = getattr(response, "exception", None)
            request = request_of(environ)
            if request is not None and isinstance(error, BaseException):
                request.note_handled(error)
        return response

    return _handle
