"""Requests that aiohttp's server answers, with or without an ``aiohttp.web.Application``.

The request is wrapped where the server handles it: handler, middlewares, and the sending of the
response. Source: https://docs.aiohttp.org/en/stable/web.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach

from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import headers, options, upstream
from otel_distro.instrumentation._http_server.carrier import current
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation._http_server.request import ServerRequest
from otel_distro.instrumentation._http_server.request_start import begin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from otel_distro.instrumentation import Wrapper


class AioHttpServerInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``aiohttp-server``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of aiohttp that are supported."""
        return ("aiohttp >= 3.8",)

    def install(self) -> None:
        """Wrap the handling of a request, of an exception, and the start of a response."""
        from aiohttp.web_protocol import RequestHandler
        from aiohttp.web_response import StreamResponse

        chosen = Options("AIOHTTP_SERVER", self.arguments)
        upstream.adopt(self, chosen, "opentelemetry.instrumentation.aiohttp_server", "AioHttpServerInstrumentor")
        self.patch(RequestHandler, "_handle_request", _handle_in_request(chosen))
        self.patch(RequestHandler, "handle_error", _with_exception)
        self.patch(StreamResponse, "prepare", _with_status)


def _handle_in_request(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def _handle_request(protocol: Any, message: Any, *arguments: Any, **named: Any) -> Any:
            try:
                request = _begin(message, chosen)
            except Exception as error:
                report_failure("the start of a request", error)
                request = None
            if request is None:
                return await original(protocol, message, *arguments, **named)
            token = attach(request.context)
            try:
                return await original(protocol, message, *arguments, **named)
            except BaseException as error:
                request.fail(error)
                raise
            finally:
                with guard("the route of a request"):
                    request.set_route(_route_of(message))
                request.leave(token)

        return _handle_request

    return wrap


def _begin(message: Any, chosen: Options) -> ServerRequest | None:
    url, scheme, host = message.rel_url, message.scheme, message.host
    if chosen.excludes(scheme, host, url.path):
        return None
    transport = message.transport
    local = transport.get_extra_info("sockname") if transport is not None else None
    found, version = message.headers, message.version
    request = begin(
        message.method,
        scheme,
        url.path,
        url.raw_query_string,
        host,
        local[1] if isinstance(local, tuple) else 0,
        message.remote or "",
        f"{version.major}.{version.minor}",
        found.get("User-Agent", ""),
        headers.MappingHeaders(found, lambda name: list(found.getall(name))),
        is_http=found.get("Upgrade", "").lower() != "websocket",
        ambient=False,
    )
    if options.common().request_headers is not None:
        request.add_headers(headers.of_request(found.items()))
    return request


def _route_of(message: Any) -> str:
    """Return the template of the resource that matched; with the prefix of a sub-application."""
    match = getattr(message, "_match_info", None)
    resource = match.route.resource if match is not None else None
    return resource.canonical if resource is not None else ""


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    def handle_error(protocol: Any, message: Any, status: int = 500, exc: Any = None, *arguments: Any) -> Any:
        request = current()
        if exc is not None and status >= 500 and request is not None:
            request.fail(exc)
        return original(protocol, message, status, exc, *arguments)

    return handle_error


def _with_status(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def prepare(response: Any, message: Any) -> Any:
        writer = await original(response, message)
        with guard("the response of a request"):
            request = current()
            if request is not None and not request.status:
                request.start_response(response.status)
                if options.common().response_headers is not None:
                    request.add_headers(headers.of_response(response.headers.items()))
        return writer

    return prepare
