"""Requests of Litestar applications: templates through routers and mounts, exceptions, streams."""

# Litestar reads the annotations of handlers as objects: no `annotations` from the future.

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from litestar import Litestar, Router, WebSocket, asgi, get, websocket
from litestar.exceptions import HTTPException
from litestar.response import Stream
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from otel_distro.instrumentation._http_server import asgi as asgi_requests
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation.litestar_apps import LitestarInstrumentor
from otel_distro.instrumentation.starlette_apps import StarletteInstrumentor
from otel_distro.testing import Telemetry
from tests.support.asgi_calls import Seen, ask, seen

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def instrumented(stable_names: None) -> Iterator[None]:
    """Instrument Litestar, and Starlette for what is mounted; leave them as they were."""
    LitestarInstrumentor().instrument()
    StarletteInstrumentor().instrument()
    yield
    StarletteInstrumentor().uninstrument()
    LitestarInstrumentor().uninstrument()


async def fine(request: Any) -> PlainTextResponse:
    return PlainTextResponse("fine")


def shop() -> Litestar:
    """Return an application with one route for each situation."""

    @get("/items/{number:int}")
    async def item(number: int) -> int:
        return number

    @get("/fail")
    async def fail() -> None:
        raise ValueError("of a handler")

    @get("/teapot")
    async def teapot() -> None:
        raise HTTPException(status_code=418)

    @get("/stream")
    async def stream() -> Stream:
        async def parts() -> AsyncIterator[str]:
            yield "first"
            raise OSError("in the stream")

        return Stream(parts())

    @websocket("/talk/{room:str}")
    async def talk(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    @websocket("/fail/{room:str}")
    async def fail_to_talk(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        raise ValueError("of a handler")

    @asgi("/star", is_mount=True, copy_scope=True)
    async def star(scope: Scope, receive: Receive, send: Send) -> None:
        inner: Any = Starlette(routes=[Route("/in/{x}/", fine)])
        await inner(scope, receive, send)

    shelves = Router("/shelves/{shelf:str}", route_handlers=[item])
    return Litestar([item, fail, teapot, stream, talk, fail_to_talk, star, shelves])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/items/7", Seen("GET /items/{number}", 200, None, [])),
        ("/shelves/a/items/7", Seen("GET /shelves/{shelf}/items/{number}", 200, None, [])),
        ("/items/x", Seen("GET", 404, None, [])),
        ("/teapot", Seen("GET /teapot", 418, None, [])),
        ("/fail", Seen("GET /fail", 500, "ValueError", ["ValueError"])),
        ("/star/in/1", Seen("GET /star/in/{x}/", 200, None, [])),
    ],
)
def test_request_is_one_span_with_its_template(path: str, expected: Seen, telemetry: Telemetry) -> None:
    """Answers below 500 are no errors; a failure is one exception event."""
    ask(shop(), path)
    assert seen(telemetry) == expected


def test_failure_in_a_stream_is_an_error(telemetry: Telemetry) -> None:
    """The status is what the client got; Litestar raises an exception of its own."""
    ask(shop(), "/stream")
    found = seen(telemetry)
    assert (found.name, found.status, len(found.exceptions)) == ("GET /stream", 200, 1)
    assert found.error == found.exceptions[0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/talk/1", Seen("GET /talk/{room}", 101, None, [])),
        ("/fail/1", Seen("GET /fail/{room}", 101, "ValueError", ["ValueError"])),
    ],
)
def test_websocket_is_one_span(path: str, expected: Seen, telemetry: Telemetry) -> None:
    """Its status is what its handshake was answered by."""
    ask(shop(), path, kind="websocket")
    assert seen(telemetry) == expected


def test_mounted_application_has_the_template_of_the_mount(telemetry: Telemetry) -> None:
    """Not the value of its parameter."""
    mounted: Any = shop()
    ask(Starlette(routes=[Mount("/shops/{shop}", mounted)]), "/shops/acme/items/7")
    assert seen(telemetry).name == "GET /shops/{shop}/items/{number}"


def test_application_mounted_by_middleware_has_the_prefix(telemetry: Telemetry) -> None:
    """A server has begun the request outside of the middleware."""
    inner: Any = shop()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/inner"}, receive, send)

    ask(asgi_requests.wrap_application(middleware, Options("ASGI", {}, is_server=True)), "/inner/items/7")
    assert seen(telemetry).name == "GET /inner/items/{number}"
