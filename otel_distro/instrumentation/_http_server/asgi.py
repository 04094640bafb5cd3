"""Calls an ASGI application inside a :class:`ServerRequest`.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import sys
from asyncio import CancelledError, current_task
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, detach
from opentelemetry.instrumentation.propagators import get_global_response_propagator

from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.instrumentation._http_server import headers, options
from otel_distro.instrumentation._http_server.carrier import (
    CARRIER_KEY,
    EXCLUDED,
    exclude,
    is_recorded,
    mark_as_recorded,
    nested,
)
from otel_distro.instrumentation._http_server.request import ServerRequest
from otel_distro.instrumentation._http_server.request_start import begin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from otel_distro.instrumentation import Wrapper
    from otel_distro.instrumentation._http_server.options import Options

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_KINDS: Final = ("http", "websocket")
_DISCONNECTS: Final = ("http.disconnect", "websocket.disconnect")
_STARLETTES_OWN: Final = "starlette.middleware.opentelemetry"
PREFIX_KEY: Final = "otel_distro.route_prefix"
"""In the scope: the template of the path at which the application that routes now is mounted."""
MOUNTED_KEY: Final = "otel_distro.route_prefix_of"
"""In the scope: the ``root_path`` whose template is :data:`PREFIX_KEY`."""
_INTERNAL_ERROR: Final = 1011
"""Code that a server closes a WebSocket with for an error of its own."""


def wrap_method(chosen: Options) -> Wrapper:
    """Return what wraps the ``__call__`` of a class of applications."""

    # Its first parameter is named like a method's: testing tools count the others.
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def __call__(self: Any, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807
            found = scope.get(CARRIER_KEY)
            if found is None and scope["type"] in _KINDS:
                await answer(original, (self,), scope, receive, send, chosen.of(self))
                return
            if scope.get("root_path"):
                _add_prefix(scope)
            if type(found) is not ServerRequest or not found.by_server:
                await original(self, scope, receive, send)
            else:
                await _join(original, self, scope, receive, send, chosen.of(self))

        mark_as_recorded(__call__)
        return __call__

    return wrap


def _add_prefix(scope: Scope) -> None:
    """Add the path at which middleware has mounted the application to the prefix."""
    with guard("the route of a request"):
        root, known = scope["root_path"].rstrip("/"), scope.get(MOUNTED_KEY, "")
        if root != known:
            # The root path of an outer application may be replaced too.
            prefix = scope.get(PREFIX_KEY, "") if root.startswith(f"{known}/") else ""
            scope[PREFIX_KEY] = prefix + root.removeprefix(known if prefix else "")
            scope[MOUNTED_KEY] = root


def wrap_application(application: Callable[..., Any], chosen: Options) -> Callable[..., Any]:
    """Return an application that a server calls instead of ``application``.

    It is the application itself if that makes requests already.
    """
    if is_recorded(application):
        return application

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if CARRIER_KEY in scope or scope["type"] not in _KINDS:
            await application(scope, receive, send)
        else:
            await answer(application, (), scope, receive, send, chosen)

    mark_as_recorded(call)
    return call


async def answer(
    call: Callable[..., Awaitable[None]],
    bound: tuple[Any, ...],
    scope: Scope,
    receive: Receive,
    send: Send,
    chosen: Options,
) -> None:
    """Await ``call(*bound, scope, receive, send)``, recorded as one request.

    The request ends when the last part of the response is sent: background tasks that follow run
    in its context, and are not part of it. A WebSocket ends with the call.
    """
    request = start(scope, chosen)
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
                request.is_answered = True
                return _send_last(send, message, request)
        except Exception as error:
            report_failure("the response of a request", error)
        return send(message)

    token = attach(request.context)
    try:
        await call(*bound, scope, take, respond)
        if not request.status and not client_left:
            # The application has not answered: the server does.
            request.start_response(500)
    except BaseException as error:
        # A cancellation that was not requested for this task is a failure of the application.
        lost = isinstance(error, CancelledError) and not (client_left or request.status or _is_cancelled())
        request.fail(error, is_cancellation=not lost)
        raise
    finally:
        request.leave(token)


def _is_cancelled() -> bool:
    """Return whether the current task is cancelled: always true before Python 3.11."""
    try:
        cancelling: Any = getattr(current_task(), "cancelling", None)
    except RuntimeError:
        return True
    return cancelling is None or cancelling() > 0


async def _send_last(send: Send, message: Message, request: ServerRequest) -> None:
    await send(message)
    request.complete()


async def _join(
    original: Callable[..., Any], app: Any, scope: Scope, receive: Receive, send: Send, chosen: Options
) -> None:
    """Call an application in a request that a server has begun, with the framework's options."""
    request: ServerRequest = scope[CARRIER_KEY]
    request.by_server = False
    excluded = False
    with guard("the options of a framework"):
        scheme, host, path = _url(scope, _Headers(scope))
        excluded = chosen.excludes(scheme, host, path)
    if excluded:
        token = exclude(scope, request)
        try:
            await original(app, scope, receive, send)
        finally:
            detach(token)
    else:
        await call_with_hooks(partial(original, app), request, scope, receive, send, chosen)


async def call_with_hooks(
    call: Callable[[Scope, Receive, Send], Awaitable[None]],
    request: ServerRequest,
    scope: Scope,
    receive: Receive,
    send: Send,
    chosen: Options,
) -> None:
    """Await ``call(scope, receive, send)`` with the hooks of ``chosen``, inside of a request."""
    chosen.call(chosen.request_hook, request.span, scope)

    async def take() -> Message:
        message = await receive()
        chosen.call(chosen.receive_hook, request.span, scope, message)
        return message

    def respond(message: Message) -> Awaitable[None]:
        chosen.call(chosen.response_hook, request.span, scope, message)
        return send(message)

    await call(scope, take, respond)


def _sent(request: ServerRequest, scope: Scope, message: Message, chosen: Options) -> bool:
    """Note a message of the application; return whether it is the last one of a response."""
    kind = message["type"]
    if chosen.response_hook is not None:
        chosen.call(chosen.response_hook, request.span, scope, message)
    if kind == "http.response.body":
        return not message.get("more_body") and not request.has_trailers
    if kind == "http.response.start":
        request.start_response(int(message["status"]))
        request.has_trailers = bool(message.get("trailers"))
        if (propagator := get_global_response_propagator()) is not None:
            propagator.inject(message, request.context, _header_setter)
    elif kind == "websocket.accept":
        request.start_response(101)
    elif kind == "websocket.close":
        if message.get("code") == _INTERNAL_ERROR:
            request.fail_with_handled()
        if not request.status:
            request.start_response(403)
    elif kind == "websocket.http.response.start":
        request.start_response(int(message["status"]))
    elif kind == "http.response.trailers":
        return not message.get("more_trailers")
    else:
        return bool(kind == "http.response.pathsend")
    pattern = chosen.response_headers or options.common().response_headers
    if pattern is not None and "headers" in message:
        request.add_headers(headers.of_response(_decoded(message["headers"]), chosen))
    return False


class _HeaderSetter:
    """Adds a header to a message that starts a response."""

    def set(self, carrier: Message, key: str, value: str) -> None:
        carrier["headers"] = [*carrier.get("headers", ()), (key.lower().encode(), value.encode())]


_header_setter = _HeaderSetter()


class _Headers:
    """Looks up headers in ASGI's scope by lower-case names; ``first`` has the last of several."""

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


@lru_cache(maxsize=256)
def _encoded(name: str) -> bytes:
    return name.lower().encode()


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


def _keep_iterators(scope: Scope) -> None:
    """Replace iterators, which the specification allows and Falcon's tests use."""
    scope["headers"] = [tuple(pair) for pair in scope["headers"]]
    for key in ("server", "client"):
        if scope.get(key) is not None:
            scope[key] = tuple(scope[key])


def start(scope: Scope, chosen: Options) -> ServerRequest | None:
    """Start the request of a scope and store it there; never raises.

    Returns:
        None if it is an outer application's, or is not recorded.
    """
    try:
        return _start(scope, chosen)
    except Exception as error:
        report_failure("the start of a request", error)
        return None


def _start(scope: Scope, chosen: Options) -> ServerRequest | None:
    get = scope.get
    if not hasattr(get("headers", ()), "__len__"):
        _keep_iterators(scope)
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
    if _STARLETTES_OWN in sys.modules:
        # Starlette's own middleware for OpenTelemetry leaves a request alone that has this mark.
        scope["starlette.opentelemetry"] = True
    if root := get("root_path"):
        scope[PREFIX_KEY] = scope[MOUNTED_KEY] = root.rstrip("/")
    if chosen.request_headers is not None or options.common().request_headers is not None:
        request.add_headers(headers.of_request(_decoded(get("headers") or ()), chosen))
    if chosen.request_hook is not None:
        chosen.call(chosen.request_hook, request.span, scope)
    return request
