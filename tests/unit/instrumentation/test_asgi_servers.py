"""Requests that servers make for bare and wrapped applications, over real connections."""

from __future__ import annotations

import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from otel_distro.instrumentation.asgi_servers import AsgiServersInstrumentor
from otel_distro.instrumentation.starlette_apps import StarletteInstrumentor
from tests.support.asgi_calls import requests_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(stable_names: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Instrument servers and Starlette, and leave them as they were."""
    monkeypatch.setenv("OTEL_PYTHON_STARLETTE_EXCLUDED_URLS", "excluded")
    AsgiServersInstrumentor().instrument()
    StarletteInstrumentor().instrument()
    yield
    StarletteInstrumentor().uninstrument()
    AsgiServersInstrumentor().uninstrument()


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def work(request: Any) -> PlainTextResponse:
    trace.get_tracer("made").start_span("work").end()
    return PlainTextResponse("fine")


def shop() -> Starlette:
    return Starlette(routes=[Route("/items/{x}", work), Route("/excluded", work)])


class Passes:
    """A middleware that no framework knows."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class Second:
    """An application of the second version of ASGI."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await bare(self.scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def serve(app: Any, *paths: str, **options: Any) -> list[int]:
    """Serve an application by uvicorn inside a span, ask for ``paths``, and return the statuses."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", **options))

    def run() -> None:
        with trace.get_tracer("made").start_as_current_span("command"):
            server.run()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        statuses = []
        for path in paths:
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", path, headers={"X-Forwarded-For": "192.0.2.9"})
            statuses.append(connection.getresponse().status)
            connection.close()
        return statuses
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("make", "name", "options"),
    [
        (lambda: bare, "GET", {}),
        (lambda: Passes(bare), "GET", {}),
        (lambda: Second, "GET", {}),
        (lambda: wsgi, "GET", {"interface": "wsgi"}),
        (shop, "GET /items/{x}", {}),
        (lambda: Passes(Passes(shop())), "GET /items/{x}", {}),
        (lambda: CORSMiddleware(shop(), allow_origins=["*"]), "GET /items/{x}", {}),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_request_is_one_root_span_whatever_the_application_is(
    make: Callable[[], Any], name: str, options: dict[str, Any], telemetry: Telemetry
) -> None:
    """It has the address of the client behind a proxy, and is no child of the command."""
    assert serve(make(), "/items/7", **options) == [200]
    (span,) = requests_of(telemetry)
    assert (span.name, span.parent) == (name, None)
    assert (span.attributes or {})["client.address"] == "192.0.2.9"
    (point,) = telemetry.metric("http.server.request.duration")
    assert point.count == 1


def test_span_of_a_command_holds_what_follows_the_server(telemetry: Telemetry) -> None:
    """The server gives the context back at its end."""
    serve(shop(), "/items/7")
    command = next(span for span in telemetry.spans() if span.name == "command")
    assert command.parent is None


@pytest.mark.parametrize("wrap", [lambda app: app, Passes])
def test_urls_that_the_framework_excludes_are_not_recorded(wrap: Callable[[Any], Any], telemetry: Telemetry) -> None:
    """Also where the server has begun the request; spans inside are roots then."""
    assert serve(wrap(shop()), "/excluded", "/items/7") == [200, 200]
    assert [span.name for span in requests_of(telemetry)] == ["GET /items/{x}"]
    outer, inner = [span for span in telemetry.spans() if span.name == "work"]
    assert (outer.parent is None, inner.parent is None) == (True, False)
    (point,) = telemetry.metric("http.server.active_requests")
    assert point.value == 0


def test_application_of_a_disabled_framework_is_not_recorded(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not make the requests that its user does not want."""
    StarletteInstrumentor().uninstrument()
    AsgiServersInstrumentor().uninstrument()
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "starlette")
    AsgiServersInstrumentor().instrument()
    assert serve(shop(), "/items/7") == [200]
    assert requests_of(telemetry) == []
