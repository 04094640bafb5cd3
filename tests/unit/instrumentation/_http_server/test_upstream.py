"""Programs that call upstream's instrumentors keep what they pass, and have one span a request."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import flask
import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation import asgi as upstream_asgi
from opentelemetry.instrumentation import wsgi as upstream_wsgi
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor as UpstreamFastAPI
from opentelemetry.instrumentation.flask import FlaskInstrumentor as UpstreamFlask

from otel_distro.instrumentation._http_server import request as requests
from otel_distro.instrumentation._http_server import upstream, wsgi
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation.flask_apps import FlaskInstrumentor
from otel_distro.instrumentation.starlette_apps import FastAPIInstrumentor
from tests.unit.instrumentation._http_server.test_wsgi import environment, serve, start_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the instrumentors of this package, and their middleware in place of upstream's."""
    for module in (upstream_asgi, upstream_wsgi):
        monkeypatch.setattr(module.OpenTelemetryMiddleware, "__call__", module.OpenTelemetryMiddleware.__call__)
        upstream.adopt_middleware(module)
    ours: tuple[Any, ...] = (FlaskInstrumentor(), FastAPIInstrumentor())
    for each in ours:
        each.instrument()
    yield
    for each in ours:
        each.uninstrument()


def mark(name: str) -> Any:
    """Return a hook that sets an attribute."""
    return lambda span, *arguments: span.set_attribute(name, True)


def ask(app: Any, where: str) -> None:
    """Send a request to a Flask application."""
    with app.test_client().get(where) as response:
        assert response.status_code == 200


def application() -> flask.Flask:
    """Return an application of Flask with two routes."""
    app = flask.Flask("made")
    app.add_url_rule("/orders", view_func=lambda: "fine", endpoint="orders")
    app.add_url_rule("/skipped", view_func=lambda: "fine", endpoint="skipped")
    return app


def test_instrument_app_of_flask_keeps_hooks_and_excluded_urls(telemetry: Telemetry) -> None:
    """They are those of one application; ``uninstrument_app`` leaves its requests out."""
    mine, other = application(), application()
    UpstreamFlask().instrument_app(mine, request_hook=mark("a"), response_hook=mark("b"), excluded_urls="skipped")
    for app in (mine, other):
        ask(app, "/orders")
        ask(app, "/skipped")
    found = [(span.name, "a" in (span.attributes or {}), "b" in (span.attributes or {})) for span in telemetry.spans()]
    assert found == [("GET /orders", True, True), ("GET /orders", False, False), ("GET /skipped", False, False)]
    UpstreamFlask.uninstrument_app(mine)
    ask(mine, "/orders")
    assert len(telemetry.spans()) == 3


def test_instrument_of_flask_gives_hooks_to_all_applications(telemetry: Telemetry) -> None:
    """``uninstrument()`` of upstream's instrumentor ends the recording."""
    app = application()
    UpstreamFlask().instrument(request_hook=mark("a"))
    ask(app, "/orders")
    (span,) = telemetry.spans()
    assert "a" in (span.attributes or {})
    UpstreamFlask().uninstrument()
    ask(app, "/orders")
    assert len(telemetry.spans()) == 1


def test_uninstrumented_upstream_is_as_it_was() -> None:
    """Static methods are static again."""
    FlaskInstrumentor().uninstrument()
    try:
        assert UpstreamFlask._instrument.__module__ == "opentelemetry.instrumentation.flask"
        assert isinstance(vars(UpstreamFlask)["instrument_app"], staticmethod)
    finally:
        FlaskInstrumentor().instrument()


def test_middleware_inside_of_a_request_adds_no_span(telemetry: Telemetry) -> None:
    """Its hooks are called with the span of the request."""
    app: Any = application()
    app.wsgi_app = upstream_wsgi.OpenTelemetryMiddleware(app.wsgi_app, mark("a"), mark("b"))
    ask(app, "/orders")
    (span,) = telemetry.spans()
    assert {"a", "b"} <= set(span.attributes or {})


def test_middleware_around_any_application_makes_its_request(telemetry: Telemetry) -> None:
    """That of WSGI and that of ASGI."""

    def bare(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"x"]

    async def bare_async(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def drop(message: Any) -> None:
        return None

    assert upstream_wsgi.OpenTelemetryMiddleware(bare, mark("a"))(environment(), start_response) == [b"x"]
    scope = {"type": "http", "method": "GET", "path": "/async", "headers": [], "query_string": b""}
    asyncio.run(upstream_asgi.OpenTelemetryMiddleware(bare_async, server_request_hook=mark("a"))(scope, receive, drop))
    found = [(span.attributes or {}) for span in telemetry.spans()]
    assert [(each["url.path"], each["a"]) for each in found] == [("/orders/7", True), ("/async", True)]


def test_asgi_middleware_inside_of_a_request_calls_all_its_hooks(telemetry: Telemetry) -> None:
    """Those of messages, too, with the span of the request."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def drop(message: Any) -> None:
        return None

    inner = upstream_asgi.OpenTelemetryMiddleware(
        bare, server_request_hook=mark("a"), client_request_hook=mark("b"), client_response_hook=mark("c")
    )
    scope = {"type": "http", "method": "GET", "path": "/async", "headers": [], "query_string": b""}
    asyncio.run(upstream_asgi.OpenTelemetryMiddleware(inner)(scope, receive, drop))
    (span,) = telemetry.spans()
    assert {"a", "b", "c"} <= set(span.attributes or {})


def test_instrument_app_of_fastapi_keeps_its_hook(telemetry: Telemetry) -> None:
    """A request is one span."""
    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def drop(message: Any) -> None:
        return None

    UpstreamFastAPI.instrument_app(app, server_request_hook=mark("a"))
    scope = {"type": "http", "method": "GET", "path": "/items/7", "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(app(scope, receive, drop))
    (span,) = telemetry.spans()
    assert (span.name, "a" in (span.attributes or {})) == ("GET /items/{number}", True)


def test_response_that_a_finalizer_ends_is_ended_by_another_thread(telemetry: Telemetry) -> None:
    """A finalizer may run where its thread holds a lock of the SDK."""
    ended: list[int] = []
    done = threading.Event()

    def note(request: Any) -> None:
        ended.append(threading.get_ident())
        done.set()

    def app(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        yield b"a"

    serve(app, environment())
    requests.observers.append(note)
    try:
        response = wsgi.wrap_application(app, Options("MADE"))(environment(), start_response)
        del response
        assert done.wait(60)
    finally:
        requests.observers.remove(note)
    assert ended != [threading.get_ident()]
