"""Failures that Starlette's own handlers and middlewares hide from the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.support.asgi_calls import ask
from tests.unit.instrumentation.test_starlette_apps import broken_stream

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


pytestmark = pytest.mark.usefixtures("starlette_and_fastapi")


class Down(Exception):
    """Has a handler that answers 503."""


async def unavailable(request: Any, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("down", 503)


async def pass_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_exception_that_a_handler_answers_with_503_is_recorded(telemetry: Telemetry, kind: Any) -> None:
    """The response hides it from the server, and nothing else reports it."""

    async def down(request: Any) -> None:
        raise Down("made")

    app = kind(routes=[Route("/down", down)], exception_handlers={Down: unavailable})
    ask(app, "/down")
    (span,) = telemetry.spans()
    assert str((span.attributes or {})["error.type"]).rpartition(".")[2] == "Down"
    assert [event.name for event in span.events] == ["exception"]


def test_stream_that_fails_behind_a_middleware_is_an_error(telemetry: Telemetry) -> None:
    """``BaseHTTPMiddleware`` ends the response before it passes the exception on."""
    app = Starlette(
        routes=[Route("/stream", broken_stream)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)]
    )
    ask(app, "/stream")
    (span,) = telemetry.spans()
    found = span.attributes or {}
    assert (found["http.response.status_code"], found["error.type"]) == (200, "OSError")
    assert [event.name for event in span.events] == ["exception"]
