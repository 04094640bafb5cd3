"""Requests of Pyramid applications: patterns, exception views, applications inside."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

with warnings.catch_warnings():
    # Pyramid imports pkg_resources where setuptools is installed.
    warnings.simplefilter("ignore")
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPForbidden, HTTPServiceUnavailable
    from pyramid.response import Response
    from pyramid.wsgi import wsgiapp2

from otel_distro.instrumentation.flask_apps import FlaskInstrumentor
from otel_distro.instrumentation.pyramid_apps import PyramidInstrumentor
from tests.support.wsgi_calls import call, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(stable_names: None) -> Iterator[None]:
    """Instrument Pyramid and Flask, and leave them as they were."""
    PyramidInstrumentor().instrument()
    FlaskInstrumentor().instrument()
    yield
    FlaskInstrumentor().uninstrument()
    PyramidInstrumentor().uninstrument()


def view(request: Any) -> Response:
    """Raise what the name of the route says."""
    errors: dict[str, BaseException] = {
        "fail": ValueError("of a view"),
        "forbidden": HTTPForbidden(),
        "away": HTTPServiceUnavailable(),
        "lost": KeyError("of a view"),
        "worse": IndexError("of a view"),
    }
    error = errors.get(request.matched_route.name)
    if error is not None:
        raise error
    return Response("fine")


def shop() -> Any:
    """Return an application with one route for each situation."""
    inner = Flask("inner")
    inner.get("/things/<int:number>")(lambda number: "inside")
    with Configurator() as config:
        for name in ("fail", "forbidden", "away", "lost", "worse"):
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name)
        with config.route_prefix_context("api"):
            config.add_route("item", "items/{number}")
        config.add_view(view, route_name="item")
        config.add_view(lambda request: Response("found"), name="resource")
        config.add_exception_view(lambda error, request: Response(status=409), context=KeyError)
        config.add_exception_view(lambda error, request: Response(status=500), context=IndexError)
        config.add_route("mounted", "/{tenant}/inner/*subpath")
        config.add_view(wsgiapp2(inner), route_name="mounted")
        return config.make_wsgi_app()


@pytest.mark.parametrize(
    ("path", "name", "status", "error", "events"),
    [
        ("/api/items/7", "GET /api/items/{number}", 200, None, 0),
        ("/resource", "GET", 200, None, 0),
        ("/nowhere", "GET", 404, None, 0),
        ("/forbidden", "GET /forbidden", 403, None, 0),
        ("/away", "GET /away", 503, "503", 0),
        ("/lost", "GET /lost", 409, None, 0),
        ("/worse", "GET /worse", 500, "IndexError", 1),
    ],
)
def test_pyramid_request_has_pattern_and_exception(
    telemetry: Telemetry, path: str, name: str, status: int, error: str | None, events: int
) -> None:
    """The pattern is the route; an exception view that answers 500 is an error."""
    assert call(shop(), path).status == status
    assert recorded(telemetry) == [(name, status, error, events)]


def test_pyramid_exception_without_a_view_is_one_event(telemetry: Telemetry) -> None:
    """It leaves the application: the server answers for it."""
    with pytest.raises(ValueError, match="of a view"):
        call(shop(), "/fail")
    assert recorded(telemetry) == [("GET /fail", 500, "ValueError", 1)]


def test_application_inside_pyramid_is_one_request_with_both_templates(telemetry: Telemetry) -> None:
    """The prefix is the template of Pyramid's route, not the values that the path has."""
    assert call(shop(), "/acme/inner/things/7").body == b"inside"
    assert recorded(telemetry) == [("GET /{tenant}/inner/things/<int:number>", 200, None, 0)]
