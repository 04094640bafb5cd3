"""Django applications, WSGI and ASGI, and its test clients: the route, and what views raise."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach
from opentelemetry.instrumentation.utils import extract_attributes_from_object

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import asgi, upstream, wsgi
from otel_distro.instrumentation._http_server.carrier import CARRIER_KEY, request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from otel_distro.instrumentation import Wrapper
    from otel_distro.instrumentation._http_server.request import ServerRequest

_HOOKS = ("request_hook", "response_hook")


class DjangoInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``django``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Django that are supported."""
        return ("django >= 2.0",)

    def install(self) -> None:
        """Wrap the handlers of requests, the match of a route, and the handling of exceptions.

        ``instrument()`` takes upstream's arguments ``request_hook(span, request)``,
        ``response_hook(span, request, response)`` and ``excluded_urls``. No middleware is added, so
        that ``OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION`` has no effect.
        """
        if os.environ.get("OTEL_PYTHON_DJANGO_INSTRUMENT") == "False":
            return
        from django.core.handlers import base, exception
        from django.core.handlers.wsgi import WSGIHandler

        upstream.adopt_by_restart(self, "opentelemetry.instrumentation.django", "DjangoInstrumentor")
        # The arguments of the hooks are Django's objects.
        chosen = Options("DJANGO", {name: value for name, value in self.arguments.items() if name not in _HOOKS})
        self.patch(WSGIHandler, "__call__", wsgi.wrap_method(chosen))
        self.patch_when_imported("django.core.handlers.asgi", "ASGIHandler", "__call__", asgi.wrap_method(chosen))
        self.patch_when_imported("django.test.client", "ClientHandler", "__call__", _of_client(chosen))
        self.patch_when_imported("django.test.client", "AsyncClientHandler", "__call__", _of_async_client(chosen))
        if hasattr(base.BaseHandler, "resolve_request"):  # Django 3.1
            self.patch(base.BaseHandler, "resolve_request", _with_route)
        else:
            self.patch(base.BaseHandler, "_get_response", _with_route)
        self.patch(base.BaseHandler, "process_exception_by_middleware", _with_exception_of_view)
        self.patch(exception, "response_for_exception", _with_exception)
        hooks = Options("DJANGO", self.arguments)
        if hooks.traced_request_attrs or hooks.changes_nested:
            self.patch(base.BaseHandler, "get_response", _with_hooks(hooks))
            if hasattr(base.BaseHandler, "get_response_async"):
                self.patch(base.BaseHandler, "get_response_async", _with_hooks_async(hooks))


def _request_of(django_request: Any) -> ServerRequest | None:
    environ = getattr(django_request, "environ", None)
    if environ is not None:
        return request_of(environ)
    return request_of(getattr(django_request, "scope", None) or {})


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def resolve(handler: Any, django_request: Any) -> Any:
        try:
            return original(handler, django_request)
        finally:
            with guard("the route of a request"):
                match, request = getattr(django_request, "resolver_match", None), _request_of(django_request)
                if match is not None and request is not None:
                    # The whole template, also through include(); empty for the root.
                    request.set_mounted_route(django_request.META.get("SCRIPT_NAME", ""), match.route)

    return resolve


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note what becomes a response; that of Http404 and the like is no error by its status."""

    def response_for_exception(django_request: Any, error: BaseException) -> Any:
        _note(django_request, error)
        return original(django_request, error)

    return response_for_exception


def _with_exception_of_view(original: Callable[..., Any]) -> Callable[..., Any]:
    def process_exception_by_middleware(handler: Any, error: BaseException, django_request: Any) -> Any:
        _note(django_request, error)
        return original(handler, error, django_request)

    return process_exception_by_middleware


def _note(django_request: Any, error: BaseException) -> None:
    with guard("an exception of a request"):
        request = _request_of(django_request)
        if request is not None:
            request.note_handled(error)


def _with_hooks(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def get_response(handler: Any, django_request: Any) -> Any:
            request = _before(django_request, chosen)
            response = original(handler, django_request)
            if request is not None:
                chosen.call(chosen.response_hook, request.span, django_request, response)
            return response

        return get_response

    return wrap


def _with_hooks_async(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def get_response_async(handler: Any, django_request: Any) -> Any:
            request = _before(django_request, chosen)
            response = await original(handler, django_request)
            if request is not None:
                chosen.call(chosen.response_hook, request.span, django_request, response)
            return response

        return get_response_async

    return wrap


def _before(django_request: Any, chosen: Options) -> ServerRequest | None:
    """Set the attributes that the settings name, and call the hook; return the request."""
    request = _request_of(django_request)
    if request is not None:
        with guard("attributes of a request"):
            found = extract_attributes_from_object(django_request, chosen.traced_request_attrs)
            scope = getattr(django_request, "scope", None)
            if scope is not None:
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
                found = extract_attributes_from_object(SimpleNamespace(**headers), chosen.traced_request_attrs, found)
            for name, value in found.items():
                request.set_attribute(name, value)
        chosen.call(chosen.request_hook, request.span, django_request)
    return request


def _of_client(chosen: Options) -> Wrapper:
    """Record what the test client asks the handler itself, without a server."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def __call__(handler: Any, environ: dict[str, Any]) -> Any:  # noqa: N807
            request = None if CARRIER_KEY in environ else wsgi.start(environ, chosen)
            if request is None:
                return original(handler, environ)
            with _InRequest(request):
                response = original(handler, environ)
            _end_with(response, request)
            return response

        return __call__

    return wrap


def _of_async_client(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def __call__(handler: Any, scope: dict[str, Any]) -> Any:  # noqa: N807
            request = None if CARRIER_KEY in scope else asgi.start(scope, chosen)
            if request is None:
                return await original(handler, scope)
            with _InRequest(request):
                response = await original(handler, scope)
            _end_with(response, request)
            return response

        return __call__

    return wrap


class _InRequest:
    """Makes the request current for one call, whose failure ends it."""

    __slots__ = ("_request", "_token")

    def __init__(self, request: ServerRequest) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._token = attach(self._request.context)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._request.fail(error)
            self._request.end()
        detach(self._token)


def _end_with(response: Any, request: ServerRequest) -> None:
    """End the request of a test client: with the stream of its response, or now."""
    with guard("the response of a request"):
        request.start_response(response.status_code)
        if response.streaming:
            response._resource_closers.append(request.end)
            return
    request.end()
