"""Requests of Falcon applications, WSGI and ASGI: templates, error handlers, streams, hooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import falcon
import falcon.asgi
import pytest
from falcon import testing

from otel_distro.instrumentation._http_server import asgi
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation.falcon_apps import FalconInstrumentor
from tests.support.asgi_calls import Seen, ask, seen
from tests.support.wsgi_calls import call, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span

    from otel_distro.testing import Telemetry

CASES = [
    ("/items/7", "GET", "GET /items/{number:int}", 200, None, 0),
    ("/items/7", "DELETE", "DELETE /items/{number:int}", 405, None, 0),
    ("/items/x", "GET", "GET", 404, None, 0),
    ("/fail", "GET", "GET /fail", 500, "ValueError", 1),
    ("/forbidden", "GET", "GET /forbidden", 403, None, 0),
    ("/away", "GET", "GET /away", 503, "503", 0),
    ("/lost", "GET", "GET /lost", 409, None, 0),
]


@pytest.fixture(autouse=True)
def event_loop() -> Iterator[None]:
    """Set an event loop: Falcon's test client asks for that of the thread, also before 3.11."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(autouse=True)
def uninstrumented(stable_names: None) -> Iterator[None]:
    """Leave Falcon as it was."""
    yield
    FalconInstrumentor().uninstrument()


def failure(path: str) -> BaseException | None:
    """Return what the responder of a path raises."""
    return {
        "/fail": ValueError("of a responder"),
        "/forbidden": falcon.HTTPForbidden(),
        "/away": falcon.HTTPServiceUnavailable(),
        "/lost": KeyError("of a responder"),
    }.get(path)


class Item:
    """A resource of a WSGI application."""

    def on_get(self, request: Any, response: Any, number: int = 0) -> None:
        error = failure(request.path)
        if error is not None:
            raise error
        response.text = str(number)


class AsyncItem:
    """A resource of an ASGI application."""

    async def on_get(self, request: Any, response: Any, number: int = 0) -> None:
        Item().on_get(request, response, number)


def shop(app: Any, item: Any) -> Any:
    """Add one route for each situation."""

    def conflict(*arguments: Any, **named: Any) -> None:
        arguments[1].status = falcon.HTTP_409

    async def conflict_async(*arguments: Any, **named: Any) -> None:
        conflict(*arguments)

    for path in ("/items/{number:int}", "/fail", "/forbidden", "/away", "/lost"):
        app.add_route(path, item)
    app.add_error_handler(KeyError, conflict_async if isinstance(item, AsyncItem) else conflict)
    return app


@pytest.mark.parametrize(("path", "method", "name", "status", "error", "events"), CASES)
def test_falcon_request_has_template_and_exception(
    telemetry: Telemetry, path: str, method: str, name: str, status: int, error: str | None, events: int
) -> None:
    """The template is the route; an exception is one event, an HTTP error is an answer."""
    FalconInstrumentor().instrument()
    assert call(shop(falcon.App(), Item()), path, method).status == status
    assert recorded(telemetry) == [(name, status, error, events)]


@pytest.mark.parametrize(("path", "method", "name", "status", "error", "events"), CASES)
def test_falcon_asgi_request_has_template_and_exception(
    telemetry: Telemetry, path: str, method: str, name: str, status: int, error: str | None, events: int
) -> None:
    """The same for an ASGI application."""
    FalconInstrumentor().instrument()
    client = testing.TestClient(shop(falcon.asgi.App(), AsyncItem()))
    assert client.simulate_request(method, path).status_code == status
    assert recorded(telemetry) == [(name, status, error, events)]


def test_falcon_prefix_of_the_server_is_part_of_the_route(telemetry: Telemetry) -> None:
    """A template does not have it."""
    FalconInstrumentor().instrument()
    call(shop(falcon.App(), Item()), "/items/7", SCRIPT_NAME="/api")
    assert [each.name for each in recorded(telemetry)] == ["GET /api/items/{number:int}"]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_falcon_hooks_get_upstreams_arguments(telemetry: Telemetry, kind: str) -> None:
    """They get Falcon's request and response; named attributes of the request are recorded."""
    given: list[Any] = []

    def on_request(span: Span, request: Any) -> None:
        given.append((span.is_recording(), request.path))

    def on_response(span: Span, request: Any, response: Any) -> None:
        given.append((span.is_recording(), request.path, response.text))

    FalconInstrumentor().instrument(
        request_hook=on_request, response_hook=on_response, traced_request_attributes=["host"]
    )
    if kind == "wsgi":
        call(shop(falcon.App(), Item()), "/items/7")
    else:
        testing.TestClient(shop(falcon.asgi.App(), AsyncItem())).simulate_get("/items/7", host="shop.example")
    (span,) = telemetry.spans()
    assert (span.attributes or {})["host"] == "shop.example"
    assert given == [(True, "/items/7"), (True, "/items/7", "7")]


class Talk:
    """A resource whose WebSocket raises what its path says."""

    async def on_websocket(self, request: Any, socket: Any) -> None:
        await socket.accept()
        kinds: dict[str, type[Exception]] = {"/fail": ValueError, "/closed": KeyError, "/broken": LookupError}
        if request.path == "/gone":
            await socket.receive_text()
            await socket.receive_text()
        raise kinds[request.path]("in a WebSocket")


@pytest.mark.parametrize(
    ("path", "error"), [("/fail", "ValueError"), ("/closed", None), ("/broken", "LookupError"), ("/gone", None)]
)
def test_falcon_websocket_that_fails_is_an_error(telemetry: Telemetry, path: str, error: str | None) -> None:
    """It is handled by Falcon itself, or by a handler that closes with the code of a failure."""
    FalconInstrumentor().instrument()
    app: Any = falcon.asgi.App()
    app.add_route(path, Talk())

    async def close(request: Any, response: Any, error: Any, params: Any, ws: Any = None) -> None:
        await ws.close(1000 if isinstance(error, KeyError) else 1011)

    app.add_error_handler(LookupError, close)
    ask(app, path, kind="websocket", asgi={"version": "3.0", "spec_version": "2.3"})
    assert seen(telemetry) == Seen(f"GET {path}", 101, error, [error] if error else [])


def test_falcon_asgi_application_mounted_by_middleware_has_the_prefix(telemetry: Telemetry) -> None:
    """Its router does not take the prefix off: the middleware does."""
    FalconInstrumentor().instrument()
    inner: Any = shop(falcon.asgi.App(), AsyncItem())

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix("/inner")
        await inner({**scope, "path": path, "root_path": "/inner"}, receive, send)

    ask(asgi.wrap_application(middleware, Options("ASGI", is_server=True)), "/inner/items/7")
    assert seen(telemetry).name == "GET /inner/items/{number:int}"
