"""Calls an ASGI application inside a :class:`ServerRequest`.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach

from otel_distro._runtime.diagnostics import report_failure
from otel_distro.instrumentation._http_server import headers, options
from otel_distro.instrumentation._http_server.request import CARRIER_KEY, EXCLUDED, ServerRequest, begin, nested

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from otel_distro.instrumentation import Wrapper
    from otel_distro.instrumentation._http_server.options import Options

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_KINDS = ("http", "websocket")


def request_of(scope: Scope) -> ServerRequest | None:
    """Return the request that is being answered, None if it is not recorded."""
    found = scope.get(CARRIER_KEY)
    return found if type(found) is ServerRequest else None


def wrap_method(chosen: Options) -> Wrapper:
    """Return what wraps the ``__call__`` of a class of applications."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def __call__(app: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807
            if CARRIER_KEY in scope or scope["type"] not in _KINDS:
                await original(app, scope, receive, send)
            else:
                await answer(lambda *given: original(app, *given), scope, receive, send, chosen.of(app))

        return __call__

    return wrap


def wrap_application(application: Callable[..., Any], chosen: Options) -> Callable[..., Any]:
    """Return an application that a server calls instead of ``application``."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if CARRIER_KEY in scope or scope["type"] not in _KINDS:
            await application(scope, receive, send)
        else:
            await answer(application, scope, receive, send, chosen)

    return call


async def answer(
    call: Callable[[Scope, Receive, Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
    chosen: Options,
) -> None:
    """Await ``call(scope, receive, send)``, recorded as one request.

    The request ends when the last part of the response is sent: background tasks that follow run
    in its context, and are not part of it. A WebSocket ends with the call.
    """
    try:
        request = _begin(scope, chosen)
    except Exception as error:
        report_failure("the start of a request", error)
        request = None
    if request is None:
        await call(scope, receive, send)
        return

    async def respond(message: Message) -> None:
        try:
            kind = message["type"]
            ends = _sent(request, scope, kind, message, chosen)
        except Exception as error:
            report_failure("the response of a request", error)
            ends = False
        await send(message)
        if ends:
            request.complete()

    token = attach(request.context)
    try:
        await call(scope, receive, respond)
    except BaseException as error:
        request.fail(error)
        raise
    finally:
        request.end()
        detach(token)


def _sent(request: ServerRequest, scope: Scope, kind: str, message: Message, chosen: Options) -> bool:
    """Note a message of the application; return whether it is the last one of a response."""
    if kind == "http.response.body":
        return not message.get("more_body") and not request.has_trailers
    if kind == "http.response.start":
        request.status = message["status"]
        request.has_trailers = bool(message.get("trailers"))
    elif kind == "websocket.accept":
        request.status = 101
    elif kind == "websocket.close":
        if not request.status:
            request.status = 403
    elif kind == "websocket.http.response.start":
        request.status = message["status"]
    elif kind == "http.response.trailers":
        return not message.get("more_trailers")
    else:
        return bool(kind == "http.response.pathsend")
    if options.common().response_headers is not None and "headers" in message:
        request.add_headers(headers.of_response(_decoded(message["headers"])))
    if chosen.response_hook is not None:
        chosen.call(chosen.response_hook, request.span, scope, message)
    return False


class _Headers:
    """Looks up headers in ASGI's scope. Names are lower case; the last of several is in ``first``."""

    __slots__ = ("_all", "first")

    def __init__(self, scope: Scope) -> None:
        self._all = scope.get("headers") or ()
        # Some servers give lists instead of pairs.
        self.first: dict[bytes, bytes] = dict(self._all)

    def text(self, name: bytes) -> str:
        """Return a header as text, empty if it is not there."""
        value = self.first.get(name)
        return "" if value is None else _text(value)

    def has_any(self, names: Iterable[str]) -> bool:
        first = self.first
        return any(_encoded(name) in first for name in names)

    def get(self, _: Any, key: str) -> list[str] | None:
        wanted = _encoded(key)
        return [_text(value) for name, value in self._all if name.lower() == wanted] or None

    def keys(self, _: Any) -> list[str]:
        return [_text(name).lower() for name in self.first]


_names: dict[str, bytes] = {}


def _encoded(name: str) -> bytes:
    found = _names.get(name)
    if found is None:
        found = name.lower().encode()
        if len(_names) < 256:
            _names[name] = found
    return found


def _text(value: bytes) -> str:
    """Return a header's bytes as text: UTF-8, or else Latin-1, as ASGI has it."""
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return str(value, "latin-1")


def _decoded(pairs: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(_text(bytes(name)).lower(), _text(bytes(value))) for name, value in pairs]


def _begin(scope: Scope, chosen: Options) -> ServerRequest | None:
    get = scope.get
    is_http = scope["type"] == "http"
    method, path, root = get("method", "GET"), scope["path"], get("root_path", "")
    if root and not path.startswith(root):
        # Servers of ASGI before 2.5 leave the prefix of the application out.
        path = root + path
    if (outer := nested(path, method)) is not None:
        scope[CARRIER_KEY] = outer
        return None
    found = _Headers(scope)
    server, client = get("server") or ("", 0), get("client")
    scheme = get("scheme") or ("http" if is_http else "ws")
    host = found.text(b"host") or server[0] or ""
    if chosen.excludes(scheme, host, path):
        scope[CARRIER_KEY] = EXCLUDED
        return None
    query = get("query_string", b"")
    request = scope[CARRIER_KEY] = begin(
        method,
        scheme,
        path,
        _text(query) if query else "",
        host,
        server[1] or 0,
        client[0] if client else "",
        get("http_version", ""),
        found.text(b"user-agent"),
        found,
        is_http=is_http,
    )
    if options.common().request_headers is not None:
        request.add_headers(headers.of_request(_decoded(get("headers") or ())))
    if chosen.request_hook is not None:
        chosen.call(chosen.request_hook, request.span, scope)
    return request
