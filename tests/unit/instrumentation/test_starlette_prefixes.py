"""Templates of Starlette and FastAPI below a prefix that no route of theirs has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.support.asgi_calls import ask, seen

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


pytestmark = pytest.mark.usefixtures("starlette_and_fastapi")


async def fine(request: Any) -> PlainTextResponse:
    return PlainTextResponse("fine")


@pytest.mark.parametrize("make", [Starlette, FastAPI])
def test_application_mounted_by_middleware_has_the_prefix(make: Any, telemetry: Telemetry) -> None:
    """Also below a mount, whose template stays."""
    inner = make(routes=[Route("/orders/{number}", fine)])

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": f"{scope['root_path']}/inner"}, receive, send)

    ask(Starlette(routes=[Mount("/shops/{shop}", middleware)]), "/shops/acme/inner/orders/7")
    assert seen(telemetry).name == "GET /shops/{shop}/inner/orders/{number}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/own/7", "GET /own/{number}"),
        ("/api/own/7", "GET /api/own/{number}"),
        ("/api/shops/acme/orders/7", "GET /api/shops/{shop}/orders/{number}"),
    ],
)
@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_root_path_of_fastapi_is_in_the_template_if_it_is_in_the_path(
    path: str, name: str, telemetry: Telemetry
) -> None:
    """Some proxies take it off, and others do not."""
    app, inner = FastAPI(root_path="/api"), FastAPI(routes=[Route("/orders/{number}", fine)])
    app.mount("/shops/{shop}", inner)
    app.router.routes.append(Route("/own/{number}", fine))
    ask(app, path)
    assert seen(telemetry).name == name
