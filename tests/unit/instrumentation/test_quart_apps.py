"""Requests of Quart applications: rules through blueprints and mounts, exceptions, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from quart import Blueprint, Quart, Response, abort, websocket
from starlette.applications import Starlette
from starlette.routing import Mount

from otel_distro.instrumentation.quart_apps import QuartInstrumentor
from otel_distro.instrumentation.starlette_apps import StarletteInstrumentor
from tests.support.asgi_calls import Seen, ask, seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(stable_names: None) -> Iterator[None]:
    """Instrument Quart, and Starlette for the mounted one; leave them as they were."""
    QuartInstrumentor().instrument()
    StarletteInstrumentor().instrument()
    yield
    StarletteInstrumentor().uninstrument()
    QuartInstrumentor().uninstrument()


class Handled(Exception):
    """Has a handler that answers 409."""


def shop() -> Quart:
    """Return an application with one route for each situation."""
    app, shelves = Quart("made.quart"), Blueprint("shelves", "made.quart", url_prefix="/shelves/<shelf>")

    @shelves.get("/items/<int:number>")
    async def item(shelf: str, number: int) -> str:
        return shelf * number

    @app.get("/sync")
    def sync() -> str:
        return "in a thread"

    @app.get("/fail")
    async def fail() -> str:
        raise ValueError("of a view")

    @app.get("/teapot")
    async def teapot() -> str:
        abort(418)

    @app.get("/handled")
    async def handled() -> str:
        raise Handled

    @app.errorhandler(Handled)
    async def conflict(error: Handled) -> tuple[str, int]:
        return "conflict", 409

    @app.get("/stream")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "first"
            raise OSError("in the stream")

        return Response(parts())

    @app.websocket("/talk/<room>")
    async def talk(room: str) -> None:
        await websocket.send(await websocket.receive())

    @app.websocket("/fail/<room>")
    async def fail_to_talk(room: str) -> None:
        await websocket.accept()
        raise ValueError("of a handler")

    app.register_blueprint(shelves)
    return app


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/shelves/a/items/2", Seen("GET /shelves/<shelf>/items/<int:number>", 200, None, [])),
        ("/shelves/a/items/x", Seen("GET", 404, None, [])),
        ("/sync", Seen("GET /sync", 200, None, [])),
        ("/teapot", Seen("GET /teapot", 418, None, [])),
        ("/handled", Seen("GET /handled", 409, None, [])),
        ("/fail", Seen("GET /fail", 500, "ValueError", ["ValueError"])),
        ("/stream", Seen("GET /stream", 200, "OSError", ["OSError"])),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_request_is_one_span_with_its_rule(path: str, expected: Seen, telemetry: Telemetry) -> None:
    """Answers below 500 are no errors; a failure is one exception event."""
    ask(shop(), path)
    assert seen(telemetry) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/talk/1", Seen("GET /talk/<room>", 101, None, [])),
        ("/fail/1", Seen("GET /fail/<room>", 101, "ValueError", ["ValueError"])),
        ("/none", Seen("GET", 403, None, [])),
    ],
)
def test_websocket_is_one_span(path: str, expected: Seen, telemetry: Telemetry) -> None:
    """Its status is what its handshake was answered by."""
    ask(shop(), path, kind="websocket")
    assert seen(telemetry) == expected


def test_mounted_application_has_the_template_of_the_mount(telemetry: Telemetry) -> None:
    """Not the value of its parameter."""
    mounted: Any = shop()
    ask(Starlette(routes=[Mount("/shops/{shop}", mounted)]), "/shops/acme/shelves/a/items/2")
    assert seen(telemetry).name == "GET /shops/{shop}/shelves/<shelf>/items/<int:number>"


@pytest.mark.parametrize("root", ["", "/api"])
def test_application_mounted_by_middleware_has_the_prefix(root: str, telemetry: Telemetry) -> None:
    """The outer application adds it to the root path, which the server has perhaps set already."""
    outer = shop()
    inner: Any = shop()

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": f"{scope['root_path']}/inner"}, receive, send)

    vars(outer)["asgi_app"] = mounted
    ask(outer, f"{root}/inner/shelves/a/items/2", root_path=root)
    assert seen(telemetry).name == f"GET {root}/inner/shelves/<shelf>/items/<int:number>"
