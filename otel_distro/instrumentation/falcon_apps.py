"""Falcon applications, WSGI and ASGI: a request with its template and exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.utils import extract_attributes_from_object

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import asgi, upstream, wsgi
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from otel_distro.instrumentation import Wrapper
    from otel_distro.instrumentation._http_server.request import ServerRequest

_HOOKS = ("request_hook", "response_hook")
_MIDDLEWARE_POSITION = 3


class FalconInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``falcon``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Falcon that are supported."""
        return ("falcon >= 1.4.1, < 5.0.0",)

    def install(self) -> None:
        """Wrap the call of an application, the choice of its responder, and its error handlers.

        ``instrument()`` takes upstream's arguments ``request_hook(span, request)``,
        ``response_hook(span, request, response)`` and ``traced_request_attributes``.
        """
        import falcon

        upstream.adopt_by_restart(self, "opentelemetry.instrumentation.falcon", "FalconInstrumentor")
        # Their arguments are Falcon's objects: a middleware calls them.
        given = {name: value for name, value in self.arguments.items() if name not in _HOOKS}
        chosen = Options("FALCON", given)
        app: Any = getattr(falcon, "App", None) or falcon.API
        self.patch(app, "__call__", wsgi.wrap_method(chosen))
        self.patch(app, "_get_responder", _with_route)
        self.patch(app, "_handle_exception", _with_exception)
        attributes = given.get("traced_request_attributes", chosen.traced_request_attrs)
        hooks = [self.arguments.get(name) for name in _HOOKS]
        with_hooks = _with_middleware(Options("FALCON", self.arguments), attributes)
        if attributes or any(hooks):
            self.patch(app, "__init__", with_hooks)
        if hasattr(falcon, "App"):
            # A subclass of the other one: what it does not define itself is patched already.
            from falcon.asgi import App

            self.patch(App, "__call__", asgi.wrap_method(chosen))
            self.patch(App, "_handle_exception", _with_async_exception)


def _request_of(falcon_request: Any) -> ServerRequest | None:
    scope = getattr(falcon_request, "scope", None)
    return request_of(falcon_request.env) if scope is None else request_of(scope)


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def _get_responder(app: Any, falcon_request: Any) -> Any:
        found = original(app, falcon_request)
        with guard("the route of a request"):
            template, request = found[3], _request_of(falcon_request)
            if request is not None and template:
                scope = getattr(falcon_request, "scope", None)
                prefix = falcon_request.env.get("SCRIPT_NAME") if scope is None else scope.get("root_path")
                request.set_mounted_route(prefix or "", template)
        return found

    return _get_responder


def _note(arguments: Sequence[Any]) -> None:
    """Note an exception among the arguments of a handler; those of HTTP are responses."""
    with guard("an exception of a request"):
        from falcon import HTTPError, HTTPStatus

        # Falcon 1 has the exception first, later ones have the request first.
        (error,) = (each for each in arguments if isinstance(each, BaseException))
        falcon_request = arguments[1] if arguments[0] is error else arguments[0]
        request = _request_of(falcon_request)
        if request is not None and not isinstance(error, (HTTPError, HTTPStatus)):
            request.note_handled(error)


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def _handle_exception(app: Any, *arguments: Any) -> Any:
        _note(arguments)
        return original(app, *arguments)

    return _handle_exception


def _note_unhandled(app: Any, arguments: Sequence[Any]) -> None:
    """Note an exception of a WebSocket for which the application has no handler."""
    with guard("an exception of a request"):
        falcon_request, _, error, *_ = arguments
        handler, request = app._find_error_handler(error), _request_of(falcon_request)
        if request is not None and getattr(handler, "__name__", "") in ("", "_python_error_handler"):
            request.fail(error)


def _with_async_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _handle_exception(app: Any, *arguments: Any, **named: Any) -> Any:
        _note(arguments)
        if named.get("ws") is not None:
            _note_unhandled(app, arguments)
        return await original(app, *arguments, **named)

    return _handle_exception


def _with_middleware(chosen: Options, attributes: Sequence[str]) -> Wrapper:
    """Put a middleware before those of the application that is made."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(app: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            if len(args) > _MIDDLEWARE_POSITION:
                kwargs["middleware"] = args[_MIDDLEWARE_POSITION]
                names = ("router", "independent_middleware", "cors_enable", "sink_before_static_route")
                kwargs.update(zip(names, args[_MIDDLEWARE_POSITION + 1 :], strict=False))
                args = args[:_MIDDLEWARE_POSITION]
            given = kwargs.get("middleware") or []
            listed = list(given) if isinstance(given, (list, tuple)) else [given]
            kwargs["middleware"] = [_Hooks(chosen, attributes), *listed]
            original(app, *args, **kwargs)

        return __init__

    return wrap


class _Hooks:
    """A middleware of Falcon that calls the hooks of the user."""

    def __init__(self, chosen: Options, attributes: Sequence[str]) -> None:
        self._chosen = chosen
        self._attributes = attributes

    def process_request(self, falcon_request: Any, response: Any) -> None:
        request = _request_of(falcon_request)
        if request is not None:
            self._chosen.call(self._chosen.request_hook, request.span, falcon_request)
            with guard("attributes of a request"):
                for name, value in extract_attributes_from_object(falcon_request, self._attributes).items():
                    request.set_attribute(name, value)

    def process_response(self, falcon_request: Any, response: Any, resource: Any, *_: Any) -> None:
        request = _request_of(falcon_request)
        if request is not None:
            self._chosen.call(self._chosen.response_hook, request.span, falcon_request, response)

    async def process_request_async(self, falcon_request: Any, response: Any) -> None:
        self.process_request(falcon_request, response)

    async def process_response_async(self, falcon_request: Any, response: Any, resource: Any, *_: Any) -> None:
        self.process_response(falcon_request, response, resource)
