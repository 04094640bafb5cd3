"""Pyramid applications: a request with the pattern that matched, and what its views raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import upstream, wsgi
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class PyramidInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``pyramid``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Pyramid that are supported."""
        return ("pyramid >= 1.7",)

    def install(self) -> None:
        """Wrap the call of an application, the match of its pattern, and its exception views.

        Resources that traversal finds have no route.
        """
        from pyramid import tweens
        from pyramid.router import Router
        from pyramid.urldispatch import RoutesMapper

        upstream.adopt_by_restart(self, "opentelemetry.instrumentation.pyramid", "PyramidInstrumentor")
        self.patch(Router, "__call__", wsgi.wrap_method(Options("PYRAMID", self.arguments)))
        self.patch(RoutesMapper, "__call__", _with_route)
        if hasattr(tweens, "_error_handler"):  # Pyramid 1.9
            self.patch(tweens, "_error_handler", _with_exception)


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(mapper: Any, pyramid_request: Any) -> Any:  # noqa: N807
        found = original(mapper, pyramid_request)
        with guard("the route of a request"):
            route, environ = found["route"], pyramid_request.environ
            request = request_of(environ)
            if request is not None and route is not None:
                request.set_mounted_route(environ.get("SCRIPT_NAME", ""), route.pattern)
        return found

    return __call__


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note what an exception view turns into a response; exceptions of HTTP are responses."""

    def _error_handler(pyramid_request: Any, error: BaseException) -> Any:
        with guard("an exception of a request"):
            from pyramid.interfaces import IExceptionResponse

            request = request_of(pyramid_request.environ)
            if request is not None and not IExceptionResponse.providedBy(error):
                request.note_handled(error)
        return original(pyramid_request, error)

    return _error_handler
