"""Calls an ASGI application inside a :class:`ServerRequest`.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, detach

from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.instrumentation._http_server import headers, options
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation._http_server.request import CARRIER_KEY, EXCLUDED, ServerRequest, begin, nested

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from otel_distro.instrumentation import Wrapper

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_KINDS: Final = ("http", "websocket")
_DISCONNECTS: Final = ("http.disconnect", "websocket.disconnect")
_MARK: Final = "__otel_distro_requests__"
PREFIX_KEY: Final = "otel_distro.route_prefix"
"""In the scope: the template of the path at which the application that routes now is mounted."""


class AsgiOptions(Options):
    """Options of a framework, by the names that upstream's ASGI instrumentors have for hooks.

    ``server_request_hook(span, scope)``, ``client_request_hook(span, scope, message)`` for each
    message from the client and ``client_response_hook(span, scope, message)`` for each one to it.
    All get the SERVER span: messages have no spans of their own.

    Args:
        framework: Name as in ``OTEL_PYTHON_<NAME>_EXCLUDED_URLS``, in upper case.
        arguments: What ``instrument()`` was given.
        is_server: Whether a server makes the request for whatever application it runs. A framework
            inside of it then applies its own options, too.
    """

    def __init__(self, framework: str, arguments: Mapping[str, Any] | None = None, *, is_server: bool = False) -> None:
        given = dict(arguments or {})
        given.setdefault("request_hook", given.get("server_request_hook"))
        given.setdefault("response_hook", given.get("client_response_hook"))
        super().__init__(framework, given)
        self.receive_hook: Callable[..., Any] | None = given.get("client_request_hook")
        self.is_server: Final = is_server
        hooks = (self.request_hook, self.response_hook, self.receive_hook)
        self.is_plain: Final = not self.excludes_any and all(hook is None for hook in hooks)


def request_of(scope: Scope) -> ServerRequest | None:
    """Return the request that is being answered, None if it is not recorded."""
    found = scope.get(CARRIER_KEY)
    return found if type(found) is ServerRequest else None


def is_recorded(application: Any) -> bool:
    """Return whether an application makes requests itself: its class was patched."""
    return getattr(type(application).__call__, _MARK, False) is True


def wrap_method(chosen: AsgiOptions) -> Wrapper:
    """Return what wraps the ``__call__`` of a class of applications."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def __call__(app: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807
            found = scope.get(CARRIER_KEY)
            if found is None and scope["type"] in _KINDS:
                await answer(original, (app,), scope, receive, send, chosen)
            elif chosen.is_plain or type(found) is not ServerRequest or not found.by_server:
                await original(app, scope, receive, send)
            else:
                await _join(original, app, scope, receive, send, chosen)

        setattr(__call__, _MARK, True)
        return __call__

    return wrap


def wrap_application(application: Callable[..., Any], chosen: AsgiOptions) -> Callable[..., Any]:
    """Return an application that a server calls instead of ``application``."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if CARRIER_KEY in scope or scope["type"] not in _KINDS:
            await application(scope, receive, send)
        else:
            await answer(application, (), scope, receive, send, chosen)

    return call


async def answer(
    call: Callable[..., Awaitable[None]],
    bound: tuple[Any, ...],
    scope: Scope,
    receive: Receive,
    send: Send,
    chosen: AsgiOptions,
) -> None:
    """Await ``call(*bound, scope, receive, send)``, recorded as one request.

    The request ends when the last part of the response is sent: background tasks that follow run
    in its context, and are not part of it. A WebSocket ends with the call.
    """
    try:
        request = _begin(scope, chosen)
    except Exception as error:
        report_failure("the start of a request", error)
        request = None
    if request is None:
        await call(*bound, scope, receive, send)
        return
    client_left = False

    async def take() -> Message:
        nonlocal client_left
        message = await receive()
        if message["type"] in _DISCONNECTS:
            client_left = True
        if chosen.receive_hook is not None:
            chosen.call(chosen.receive_hook, request.span, scope, message)
        return message

    def respond(message: Message) -> Awaitable[None]:
        try:
            if _sent(request, scope, message, chosen):
                return _send_last(send, message, request)
        except Exception as error:
            report_failure("the response of a request", error)
        return send(message)

    token = attach(request.context)
    try:
        await call(*bound, scope, take, respond)
        if not request.status and not client_left:
            # The application has not answered: the server does.
            request.status = 500
    except BaseException as error:
        request.fail(error)
        raise
    finally:
        request.end()
        detach(token)


async def _send_last(send: Send, message: Message, request: ServerRequest) -> None:
    await send(message)
    request.complete()


async def _join(
    original: Callable[..., Any], app: Any, scope: Scope, receive: Receive, send: Send, chosen: AsgiOptions
) -> None:
    """Call an application in a request that a server has begun, with the framework's options."""
    request: ServerRequest = scope[CARRIER_KEY]
    request.by_server = False
    excluded = False
    with guard("the options of a framework"):
        scheme, host, path = _url(scope, _Headers(scope))
        excluded = chosen.excludes(scheme, host, path)
    if excluded:
        scope[CARRIER_KEY] = EXCLUDED
        token = attach(request.discard())
        try:
            await original(app, scope, receive, send)
        finally:
            detach(token)
        return
    chosen.call(chosen.request_hook, request.span, scope)

    async def take() -> Message:
        message = await receive()
        chosen.call(chosen.receive_hook, request.span, scope, message)
        return message

    def respond(message: Message) -> Awaitable[None]:
        chosen.call(chosen.response_hook, request.span, scope, message)
        return send(message)

    await original(app, scope, take, respond)


def _sent(request: ServerRequest, scope: Scope, message: Message, chosen: AsgiOptions) -> bool:
    """Note a message of the application; return whether it is the last one of a response."""
    kind = message["type"]
    if chosen.response_hook is not None:
        chosen.call(chosen.response_hook, request.span, scope, message)
    if kind == "http.response.body":
        return not message.get("more_body") and not request.has_trailers
    if kind == "http.response.start":
        request.status = int(message["status"])
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
    pattern = chosen.response_headers or options.common().response_headers
    if pattern is not None and "headers" in message:
        request.add_headers(headers.of_response(_decoded(message["headers"]), chosen))
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


def _url(scope: Scope, found: _Headers) -> tuple[str, str, str]:
    """Return scheme, host and whole path of a request."""
    path, root = scope["path"], scope.get("root_path", "")
    if root and not path.startswith(root):
        # Servers of ASGI before 2.5 leave the prefix of the application out.
        path = root + path
    scheme = scope.get("scheme") or ("http" if scope["type"] == "http" else "ws")
    server = scope.get("server")
    return scheme, found.text(b"host") or (server[0] if server else "") or "", path


def _begin(scope: Scope, chosen: AsgiOptions) -> ServerRequest | None:
    get = scope.get
    found = _Headers(scope)
    scheme, host, path = _url(scope, found)
    method = get("method", "GET")
    if (outer := nested(path, method)) is not None:
        scope[CARRIER_KEY] = outer
        return None
    if chosen.excludes(scheme, host, path):
        scope[CARRIER_KEY] = EXCLUDED
        return None
    server, client, query = get("server"), get("client"), get("query_string", b"")
    request = scope[CARRIER_KEY] = begin(
        method,
        scheme,
        path,
        _text(query) if query else "",
        host,
        (server[1] or 0) if server else 0,
        client[0] if client else "",
        get("http_version", ""),
        found.text(b"user-agent"),
        found,
        is_http=scope["type"] == "http",
    )
    request.by_server = chosen.is_server
    if root := get("root_path"):
        scope[PREFIX_KEY] = root.rstrip("/")
    if chosen.request_headers is not None or options.common().request_headers is not None:
        request.add_headers(headers.of_request(_decoded(get("headers") or ()), chosen))
    if chosen.request_hook is not None:
        chosen.call(chosen.request_hook, request.span, scope)
    return request
