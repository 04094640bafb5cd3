"""Requests that handlers of Tornado answer, WebSockets too.

Source: https://www.tornadoweb.org/en/stable/web.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach

from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.errors import answers
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import headers, options
from otel_distro.instrumentation._http_server.carrier import current
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation._http_server.request import ServerRequest
from otel_distro.instrumentation._http_server.request_start import begin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from otel_distro.instrumentation import Wrapper

_ROUTE = "_otel_distro_route"


class TornadoInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``tornado``.

    Its part for the client stays upstream's, if that package is installed.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Tornado that are supported."""
        return ("tornado >= 5.1.1",)

    def install(self) -> None:
        """Wrap the execution of a handler, its exceptions, and the match of a path."""
        from tornado.routing import PathMatches
        from tornado.web import RequestHandler

        chosen = Options("TORNADO", self.arguments)
        self.patch(RequestHandler, "_execute", _execute_in_request(chosen))
        self.patch(RequestHandler, "_handle_request_exception", _with_exception)
        self.patch(RequestHandler, "log_exception", _with_logged_exception)
        self.patch(PathMatches, "match", _with_route)
        _instrument_client(self.arguments)


def _instrument_client(arguments: dict[str, Any]) -> None:
    """Instrument the client by upstream's instrumentor, without its part for handlers."""
    try:
        from opentelemetry.instrumentation.tornado import TornadoInstrumentor as Upstream
    except ModuleNotFoundError:
        return
    from opentelemetry.instrumentation.utils import unwrap
    from tornado.web import RequestHandler

    Upstream().instrument(skip_dep_check=True, **arguments)
    unwrap(RequestHandler, "__init__")


def _execute_in_request(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def _execute(handler: Any, *arguments: Any, **named: Any) -> Any:
            try:
                request = _begin(handler, chosen)
            except Exception as error:
                report_failure("the start of a request", error)
                request = None
            if request is None:
                return await original(handler, *arguments, **named)
            token = attach(request.context)
            try:
                return await original(handler, *arguments, **named)
            except BaseException as error:
                request.fail(error)
                raise
            finally:
                with guard("the response of a request"):
                    _finish(request, handler)
                request.leave(token)

        return _execute

    return wrap


def _begin(handler: Any, chosen: Options) -> ServerRequest | None:
    message = handler.request
    scheme, host, path = message.protocol, message.host, message.path
    if chosen.excludes(scheme, host, path):
        return None
    found, version = message.headers, message.version
    stream = getattr(getattr(message, "connection", None), "stream", None)
    socket = getattr(stream, "socket", None)
    local = socket.getsockname() if socket is not None else None
    request = begin(
        message.method,
        scheme,
        path,
        message.query,
        host,
        local[1] if isinstance(local, tuple) else 0,
        message.remote_ip or "",
        version.removeprefix("HTTP/"),
        found.get("User-Agent", ""),
        headers.MappingHeaders(found, found.get_list),
        is_http=found.get("Upgrade", "").lower() != "websocket",
        ambient=False,
    )
    request.set_route(getattr(message, _ROUTE, ""))
    if options.common().request_headers is not None:
        request.add_headers(headers.of_request(found.get_all()))
    for name in chosen.traced_request_attrs:
        if (value := getattr(message, name, None)) is not None:
            request.set_attribute(name, str(value))
    chosen.call(chosen.request_hook, request.span, handler)
    return request


def _finish(request: ServerRequest, handler: Any) -> None:
    # A WebSocket that was accepted has status 101; its handler's status stays 200 in some versions.
    is_open = not request.is_http and getattr(handler, "ws_connection", None) is not None
    request.start_response(101 if is_open else handler.get_status())
    if options.common().response_headers is not None:
        request.add_headers(headers.of_response(handler._headers.get_all()))


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def _handle_request_exception(handler: Any, error: BaseException) -> Any:
        request = current()
        if request is not None and _is_error(error):
            # The handler may make a response of it, as long as the client has nothing.
            (request.fail if handler._headers_written else request.note_handled)(error)
        return original(handler, error)

    return _handle_request_exception


def _with_logged_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def log_exception(handler: Any, kind: Any, error: Any, traceback: Any) -> Any:
        request = current()
        if request is not None and not request.is_http and _is_error(error):
            # Tornado hands exceptions of the callbacks of a WebSocket only to this method.
            request.fail(error)
        return original(handler, kind, error, traceback)

    return log_exception


def _is_error(error: object) -> bool:
    return isinstance(error, BaseException) and not answers.kind_of(error)


def _with_route(original: Callable[..., Any]) -> Callable[..., Any]:
    def match(matcher: Any, message: Any) -> Any:
        found = original(matcher, message)
        if found is not None:
            # The innermost rule that matches comes last.
            setattr(message, _ROUTE, matcher.regex.pattern.removeprefix("^").removesuffix("$"))
        return found

    return match
