"""Requests of Flask applications: routes through mounts, exceptions, streams, hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Blueprint, Flask, Response, abort
from opentelemetry import context, trace
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otel_distro.instrumentation.flask_apps import FlaskInstrumentor
from tests.support.wsgi_calls import call, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def uninstrumented(stable_names: None) -> Iterator[None]:
    """Leave Flask as it was."""
    yield
    FlaskInstrumentor().uninstrument()


def shop() -> Flask:
    """Return an application with one route for each situation."""
    app = Flask("shop")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    blueprint = Blueprint("items", __name__, url_prefix="/<tenant>/items")

    @blueprint.get("/<int:number>")
    def item(tenant: str, number: int) -> str:
        return f"{tenant} {number}"

    @app.get("/fail")
    def fail() -> str:
        raise ValueError("of a view")

    @app.get("/forbidden")
    def forbidden() -> str:
        abort(403)

    @app.get("/away")
    def away() -> str:
        abort(503)

    @app.get("/lost")
    def lost() -> str:
        raise KeyError("of a view")

    @app.get("/worse")
    def worse() -> str:
        raise IndexError("of a view")

    @app.errorhandler(KeyError)
    def conflict(error: KeyError) -> tuple[str, int]:
        return "conflict", 409

    @app.errorhandler(IndexError)
    def broken(error: IndexError) -> tuple[str, int]:
        return "broken", 500

    app.register_blueprint(blueprint)
    return app


@pytest.mark.parametrize(
    ("path", "method", "name", "status"),
    [
        ("/acme/items/7", "GET", "GET /<tenant>/items/<int:number>", 200),
        ("/acme/items/7", "HEAD", "HEAD /<tenant>/items/<int:number>", 200),
        ("/acme/items/7", "DELETE", "DELETE", 405),
        ("/acme/items/x", "GET", "GET", 404),
        ("/nowhere", "BREW", "HTTP", 404),
        ("/forbidden", "GET", "GET /forbidden", 403),
    ],
)
def test_flask_request_has_the_rule_and_answers_are_no_errors(
    telemetry: Telemetry, path: str, method: str, name: str, status: int
) -> None:
    """The route is the whole rule with the blueprint's prefix; an unknown path has none."""
    FlaskInstrumentor().instrument()
    assert call(shop(), path, method).status == status
    assert recorded(telemetry) == [(name, status, None, 0)]


@pytest.mark.parametrize(
    ("path", "status", "error", "events"),
    [
        ("/fail", 500, "ValueError", 1),
        ("/worse", 500, "IndexError", 1),
        ("/away", 503, "503", 0),
        ("/lost", 409, None, 0),
    ],
)
def test_flask_exception_is_one_event_of_a_server_error(
    telemetry: Telemetry, path: str, status: int, error: str | None, events: int
) -> None:
    """An exception that a handler turns into an answer below 500 leaves nothing."""
    FlaskInstrumentor().instrument()
    assert call(shop(), path).status == status
    assert recorded(telemetry) == [(f"GET {path}", status, error, events)]


def test_flask_exception_that_propagates_is_one_event_and_500(telemetry: Telemetry) -> None:
    """In debug mode it leaves the application: the server answers for it."""
    FlaskInstrumentor().instrument()
    app = shop()
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(ValueError, match="of a view"):
        call(app, "/fail")
    assert recorded(telemetry) == [("GET /fail", 500, "ValueError", 1)]


def test_flask_below_a_dispatcher_has_the_whole_route(telemetry: Telemetry) -> None:
    """The prefix of a mount is part of the route; the outer application adds no span."""
    FlaskInstrumentor().instrument()
    inner = shop()
    outer = Flask("outer")
    setattr(outer, "wsgi_app", DispatcherMiddleware(outer.wsgi_app, {"/mounted": inner}))  # noqa: B010 - a method
    assert call(outer, "/mounted/acme/items/7").body == b"acme 7"
    assert call(outer, "/mounted/nowhere").status == 404
    assert [each.name for each in recorded(telemetry)] == ["GET /mounted/<tenant>/items/<int:number>", "GET"]


def test_flask_stream_is_the_request_until_it_ends(telemetry: Telemetry) -> None:
    """The span is current in each step; a failure after the first byte keeps status 200."""
    FlaskInstrumentor().instrument()
    app = Flask("stream")
    seen: list[bool] = []

    @app.get("/<kind>")
    def stream(kind: str) -> Response:
        def steps() -> Iterator[bytes]:
            for _ in range(2):
                seen.append(trace.get_current_span().is_recording())
                yield b"a"
            if kind == "broken":
                raise OSError("in the stream")

        return Response(steps())

    assert call(app, "/whole").body == b"aa"
    with pytest.raises(OSError, match="in the stream"):
        call(app, "/broken")
    assert seen == [True] * 4
    assert recorded(telemetry) == [("GET /<kind>", 200, None, 0), ("GET /<kind>", 200, "OSError", 1)]


def test_flask_hooks_get_upstreams_arguments(telemetry: Telemetry) -> None:
    """The request hook gets the environment, the response hook status and headers."""
    given: list[Any] = []

    def on_request(span: trace.Span, environ: dict[str, Any]) -> None:
        span.set_attribute("made", environ["PATH_INFO"])

    def on_response(span: trace.Span, status: str, headers: list[tuple[str, str]]) -> None:
        given.append((span.is_recording(), status, dict(headers)["Content-Type"]))

    FlaskInstrumentor().instrument(request_hook=on_request, response_hook=on_response, excluded_urls="nowhere")
    call(shop(), "/acme/items/7")
    call(shop(), "/nowhere")
    (span,) = telemetry.spans()
    assert (span.attributes or {})["made"] == "/acme/items/7"
    assert given == [(True, "200 OK", "text/html; charset=utf-8")]


@pytest.mark.parametrize(
    ("arguments", "tags"),
    [
        ({}, ["framework", "controller", "route"]),
        ({"commenter_options": {"framework": False}}, ["controller", "route"]),
    ],
)
def test_flask_tags_for_sql_comments_are_in_the_context(
    telemetry: Telemetry, arguments: dict[str, Any], tags: list[str]
) -> None:
    """OpenTelemetry's commenter finds framework, controller and route during the request only."""
    FlaskInstrumentor().instrument(**arguments)
    app = Flask("made")
    found: list[Any] = []

    @app.get("/<int:number>")
    def view(number: int) -> str:
        found.append(context.get_value("SQLCOMMENTER_ORM_TAGS_AND_VALUES"))
        return ""

    call(app, "/1")
    assert list(found[0]) == tags
    assert found[0]["route"] == "/<int:number>"
    assert context.get_value("SQLCOMMENTER_ORM_TAGS_AND_VALUES") is None


def test_flask_is_as_before_after_uninstrument(telemetry: Telemetry) -> None:
    """Every method of Flask is the original again."""
    before = dict(vars(Flask))
    FlaskInstrumentor().instrument()
    assert vars(Flask) != before
    FlaskInstrumentor().uninstrument()
    assert dict(vars(Flask)) == before
    call(shop(), "/forbidden")
    assert telemetry.spans() == ()
