"""Requests of Starlette and FastAPI applications: templates through mounts, exceptions, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from otel_distro.errors import exception_state
from otel_distro.instrumentation.starlette_apps import FastAPIInstrumentor, StarletteInstrumentor
from tests.support.asgi_calls import Seen, ask, requests_of, seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from otel_distro.testing import Telemetry


pytestmark = pytest.mark.usefixtures("starlette_and_fastapi")


class Handled(Exception):
    """Has a handler that answers 409."""


async def fine(request: Any) -> PlainTextResponse:
    return PlainTextResponse("fine")


async def fail(request: Any) -> None:
    raise ValueError("of an endpoint")


async def handled(request: Any) -> None:
    raise Handled


async def broken_stream(request: Any) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        yield "first"
        raise OSError("in the stream")

    return StreamingResponse(parts())


async def talk(websocket: Any) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


async def refuse(websocket: Any) -> None:
    await websocket.close()


async def fail_to_talk(websocket: Any) -> None:
    await websocket.accept()
    raise ValueError("of a handler")


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"bare"})


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return


async def conflict(request: Any, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("conflict", 409)


def starlette(files: Path, **more: Any) -> Starlette:
    """Return an application with every kind of route."""
    (files / "a.txt").write_text("a", encoding="utf-8")
    routes = [
        Route("/items/{number:int}", fine),
        Route("/fail", fail),
        Route("/handled", handled),
        Route("/stream", broken_stream),
        Mount("/sub/{tenant}", routes=[Route("/things/{thing}", fine), Mount("/deep", routes=[Route("/{x}", fine)])]),
        Mount("/app", Starlette(routes=[Route("/in/{x}", fine), Route("/fail", fail)])),
        Mount("/static", StaticFiles(directory=files)),
        Mount("/bare", bare),
        Mount("/silent", silent),
        Host("h.example.org", Router([Route("/host/{x}", fine)])),
        WebSocketRoute("/talk/{room}", talk),
        WebSocketRoute("/refuse/{room}", refuse),
        WebSocketRoute("/fail/{room}", fail_to_talk),
    ]
    return Starlette(routes=routes, exception_handlers={Handled: conflict}, **more)


@pytest.mark.parametrize(
    ("path", "method", "name", "status"),
    [
        ("/items/7", "GET", "GET /items/{number:int}", 200),
        ("/items/7", "HEAD", "HEAD /items/{number:int}", 200),
        ("/items/7", "POST", "POST /items/{number:int}", 405),
        ("/items/7/", "GET", "GET", 307),
        ("/items/x", "GET", "GET", 404),
        ("/items/x", "BREW", "HTTP", 404),
        ("/handled", "GET", "GET /handled", 409),
        ("/sub/acme/things/9", "GET", "GET /sub/{tenant}/things/{thing}", 200),
        ("/sub/acme/deep/9", "GET", "GET /sub/{tenant}/deep/{x}", 200),
        ("/sub/acme/none", "GET", "GET", 404),
        ("/sub/acme/deep/9/none", "GET", "GET", 404),
        ("/app/in/9", "GET", "GET /app/in/{x}", 200),
        ("/app/none", "GET", "GET", 404),
        ("/static/a.txt", "GET", "GET /static/{path:path}", 200),
        ("/static/none", "GET", "GET /static/{path:path}", 404),
        ("/bare/any/path", "GET", "GET /bare/{path:path}", 200),
    ],
)
def test_request_is_one_span_with_the_whole_template(
    path: str, method: str, name: str, status: int, tmp_path: Path, telemetry: Telemetry
) -> None:
    """Also through mounts; a path without a route has none; answers below 500 are no errors."""
    ask(starlette(tmp_path), path, method=method)
    assert seen(telemetry) == Seen(name, status, None, [])
    (point,) = telemetry.metric("http.server.request.duration")
    assert point.attributes.get("http.route", "") == name.partition(" ")[2]


def test_route_of_a_host_is_its_template(tmp_path: Path, telemetry: Telemetry) -> None:
    """``Host`` adds nothing to the path."""
    ask(starlette(tmp_path), "/host/1", headers=[(b"host", b"h.example.org:80")])
    assert seen(telemetry).name == "GET /host/{x}"


def test_prefix_of_the_server_is_part_of_the_template(tmp_path: Path, telemetry: Telemetry) -> None:
    """The path has it, too."""
    ask(starlette(tmp_path), "/api/items/7", root_path="/api")
    (span,) = requests_of(telemetry)
    assert (span.name, (span.attributes or {})["url.path"]) == ("GET /api/items/{number:int}", "/api/items/7")


@pytest.mark.parametrize(
    ("path", "status", "error", "events"),
    [
        ("/fail", 500, "ValueError", ["ValueError"]),
        ("/app/fail", 500, "ValueError", ["ValueError"]),
        ("/stream", 200, "OSError", ["OSError"]),
        ("/silent/x", 500, "500", []),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_failure_is_one_exception_event(
    path: str, status: int, error: str, events: list[str], debug: bool, tmp_path: Path, telemetry: Telemetry
) -> None:
    """The exception that the application raises again after its response is on the span once."""
    sent = ask(starlette(tmp_path, debug=debug), path)
    found = seen(telemetry)
    assert found[1:] == (status, error, events)
    (point,) = telemetry.metric("http.server.request.duration")
    assert point.attributes["error.type"] == error
    if events:
        (span,) = requests_of(telemetry)
        assert exception_state.span_of(sent[-1]["error"]) == span.get_span_context()


def test_failure_in_middlewares_with_task_groups_is_one_exception_event(tmp_path: Path, telemetry: Telemetry) -> None:
    """Each of these middlewares runs the application in a task group."""

    class Passes(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    ask(starlette(tmp_path, middleware=[Middleware(Passes), Middleware(Passes)]), "/fail")
    assert seen(telemetry) == Seen("GET /fail", 500, "ValueError", ["ValueError"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/talk/1", Seen("GET /talk/{room}", 101, None, [])),
        ("/refuse/1", Seen("GET /refuse/{room}", 403, None, [])),
        ("/none", Seen("GET", 403, None, [])),
        ("/fail/1", Seen("GET /fail/{room}", 101, "ValueError", ["ValueError"])),
    ],
)
def test_websocket_is_one_span_without_a_duration(
    path: str, expected: Seen, tmp_path: Path, telemetry: Telemetry
) -> None:
    """It may last for hours; its status is what its handshake was answered by."""
    ask(starlette(tmp_path), path, kind="websocket")
    assert seen(telemetry) == expected
    assert telemetry.metric("http.server.request.duration") == ()


def fastapi() -> FastAPI:
    """Return an application with included routers and a mounted application."""
    app, sub = FastAPI(), FastAPI()
    inner, outer = APIRouter(prefix="/users/{user}"), APIRouter()

    @inner.get("/posts/{post}")
    async def post(user: str, post: str) -> str:
        return user + post

    @inner.websocket("/talk/{room}")
    async def talk_to_user(websocket: WebSocket, user: str, room: str) -> None:
        await talk(websocket)

    @sub.get("/things/{thing}")
    def thing(thing: str) -> str:
        return thing

    @app.get("/items/{number}")
    def item(number: int) -> int:
        return number

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418)

    @app.get("/fail")
    def fails() -> None:
        raise ValueError("of an endpoint")

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> str:
        tasks.add_task(fail, None)
        return "fine"

    outer.include_router(inner)
    app.include_router(outer, prefix="/v1")
    app.mount("/sub/{tenant}", sub)
    app.mount("/star", Starlette(routes=[Route("/in/{x}", fine)]))
    return app


@pytest.mark.parametrize(
    ("path", "method", "name", "status"),
    [
        ("/items/7", "GET", "GET /items/{number}", 200),
        ("/items/x", "GET", "GET /items/{number}", 422),
        ("/items/7", "POST", "POST /items/{number}", 405),
        ("/v1/users/u/posts/p", "GET", "GET /v1/users/{user}/posts/{post}", 200),
        ("/v1/users/u/none", "GET", "GET", 404),
        ("/sub/acme/things/9", "GET", "GET /sub/{tenant}/things/{thing}", 200),
        ("/sub/acme/none", "GET", "GET", 404),
        ("/star/in/9", "GET", "GET /star/in/{x}", 200),
        ("/teapot", "GET", "GET /teapot", 418),
        ("/docs", "GET", "GET /docs", 200),
    ],
)
def test_fastapi_request_is_one_span_with_the_whole_template(
    path: str, method: str, name: str, status: int, telemetry: Telemetry
) -> None:
    """Through included routers and mounted applications; FastAPI's own telemetry is silent."""
    ask(fastapi(), path, method=method)
    assert seen(telemetry) == Seen(name, status, None, [])
    assert [span.name for span in telemetry.spans()] == [name]
    (point,) = telemetry.metric("http.server.request.duration")
    assert point.count == 1


def test_fastapi_websocket_of_an_included_router_has_the_whole_template(telemetry: Telemetry) -> None:
    """FastAPI stores it elsewhere than that of a request."""
    ask(fastapi(), "/v1/users/u/talk/1", kind="websocket")
    assert seen(telemetry).name == "GET /v1/users/{user}/talk/{room}"


def test_fastapi_failure_is_one_event_and_no_record_of_its_own(telemetry: Telemetry) -> None:
    """FastAPI's own telemetry would make a log record of it."""
    ask(fastapi(), "/fail")
    assert seen(telemetry) == Seen("GET /fail", 500, "ValueError", ["ValueError"])
    assert list(telemetry.logs()) == []


def test_failure_of_a_background_task_is_not_one_of_the_request(telemetry: Telemetry) -> None:
    """The request has ended with its response; the exception keeps the trace of the request."""
    sent = ask(fastapi(), "/later")
    assert seen(telemetry) == Seen("GET /later", 200, None, [])
    (span,) = requests_of(telemetry)
    assert exception_state.span_of(sent[-1]["error"]) == span.get_span_context()


def test_fastapi_in_starlette_is_one_request(telemetry: Telemetry) -> None:
    """One span and one measurement, however applications are nested."""
    ask(Starlette(routes=[Mount("/api", fastapi())]), "/api/sub/acme/things/9")
    assert seen(telemetry).name == "GET /api/sub/{tenant}/things/{thing}"


def test_application_has_no_attributes_of_the_instrumentation(telemetry: Telemetry) -> None:
    """So it pickles as without, also after requests."""
    app = fastapi()
    ask(app, "/items/7")
    FastAPIInstrumentor().uninstrument()
    other = fastapi()
    other.middleware_stack = other.build_middleware_stack()
    assert vars(app).keys() == vars(other).keys()


@pytest.mark.parametrize("make", [fastapi, lambda: Starlette(routes=[Route("/items/{x}", fine)])])
def test_excluded_urls_of_the_framework_apply(
    make: Callable[[], Any], telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OTEL_PYTHON_FASTAPI_EXCLUDED_URLS`` is that of FastAPI alone, likewise Starlette's."""
    app = make()
    name = type(app).__name__.upper()
    other = {"FASTAPI": "STARLETTE", "STARLETTE": "FASTAPI"}[name]
    for framework, pattern in ((name, "items/8"), (other, "items/9")):
        monkeypatch.setenv(f"OTEL_PYTHON_{framework}_EXCLUDED_URLS", pattern)
    for instrumentor in (StarletteInstrumentor(), FastAPIInstrumentor()):
        instrumentor.uninstrument()
        instrumentor.instrument()
    for number in (8, 9):
        ask(app, f"/items/{number}")
    assert [(span.attributes or {})["url.path"] for span in requests_of(telemetry)] == ["/items/9"]


def test_hooks_and_captured_headers_of_upstream_apply(telemetry: Telemetry) -> None:
    """The hooks get the SERVER span; a failing one is reported and changes nothing."""
    calls: list[tuple[str, str]] = []

    def note(kind: str) -> Callable[..., None]:
        return lambda span, scope, *message: calls.append((kind, message[0]["type"] if message else scope["type"]))

    FastAPIInstrumentor().uninstrument()
    FastAPIInstrumentor().instrument(
        server_request_hook=note("request"),
        client_request_hook=note("in"),
        client_response_hook=note("out"),
        http_capture_headers_server_request=["x-made-.*"],
        http_capture_headers_server_response=["content-type"],
        http_capture_headers_sanitize_fields=["x-made-secret"],
    )
    headers = [(b"host", b"a"), (b"x-made-id", b"7"), (b"x-made-secret", b"s"), (b"x-other", b"8")]
    ask(fastapi(), "/items/7", headers=headers)
    assert calls == [("request", "http"), ("out", "http.response.start"), ("out", "http.response.body")]
    (span,) = requests_of(telemetry)
    captured = {key: value for key, value in (span.attributes or {}).items() if ".header." in key}
    assert captured == {
        "http.request.header.x_made_id": ("7",),
        "http.request.header.x_made_secret": ("[REDACTED]",),
        "http.response.header.content_type": ("application/json",),
    }


def test_header_with_any_bytes_is_read(telemetry: Telemetry) -> None:
    """Bytes that are no UTF-8 are Latin-1, and a broken trace header starts a new trace."""
    headers = [(b"host", b"a"), (b"user-agent", b"caf\xe9 \\x"), (b"traceparent", b"\xff\xfe")]
    sent = ask(fastapi(), "/items/7", headers=headers)
    assert sent[0]["status"] == 200
    (span,) = requests_of(telemetry)
    assert (span.attributes or {})["user_agent.original"] == "café \\x"
    assert span.parent is None


def test_bug_of_the_instrumentation_does_not_reach_the_application(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, swallowed: list[str]
) -> None:
    """The application answers as always, and the failure is reported."""

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("of the instrumentation")

    monkeypatch.setattr("otel_distro.instrumentation._http_server.asgi.begin", broken)
    assert ask(fastapi(), "/items/7")[0]["status"] == 200
    assert swallowed
    swallowed.clear()


def test_uninstrumented_application_records_nothing(telemetry: Telemetry) -> None:
    """The classes have their own functions again."""
    FastAPIInstrumentor().uninstrument()
    StarletteInstrumentor().uninstrument()
    for function in (Starlette.__call__, FastAPI.__call__, Route.handle, Mount.handle, WebSocketRoute.handle):
        assert not hasattr(function, "__wrapped__")
