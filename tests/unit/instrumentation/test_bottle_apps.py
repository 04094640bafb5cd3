"""Requests of Bottle applications: rules through mounts, exceptions, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bottle import Bottle, abort

from otel_distro.instrumentation.bottle_apps import BottleInstrumentor
from tests.support.wsgi_calls import call, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(stable_names: None) -> Iterator[None]:
    """Instrument Bottle, and leave it as it was."""
    BottleInstrumentor().instrument()
    yield
    BottleInstrumentor().uninstrument()


def shop() -> Bottle:
    """Return an application with one route for each situation."""
    app = Bottle()

    def item(number: int) -> str:
        return str(number)

    def fail() -> str:
        raise ValueError("of a callback")

    def forbidden() -> None:
        abort(403)

    def broken() -> Iterator[bytes]:
        yield b"a"
        raise OSError("in the stream")

    for path, callback in (("items/<number:int>", item), ("fail", fail), ("forbidden", forbidden), ("broken", broken)):
        app.get(f"/{path}", callback=callback)
    return app


@pytest.mark.parametrize(
    ("path", "method", "name", "status", "error", "events"),
    [
        ("/items/7", "GET", "GET /items/<number:int>", 200, None, 0),
        ("/items/7", "POST", "POST", 405, None, 0),
        ("/items/x", "GET", "GET", 404, None, 0),
        ("/forbidden", "GET", "GET /forbidden", 403, None, 0),
        ("/fail", "GET", "GET /fail", 500, "ValueError", 1),
    ],
)
def test_bottle_request_has_rule_and_exception(
    telemetry: Telemetry, path: str, method: str, name: str, status: int, error: str | None, events: int
) -> None:
    """The rule is the route; an exception is one event, an answer leaves nothing."""
    assert call(shop(), path, method).status == status
    assert recorded(telemetry) == [(name, status, error, events)]


def test_bottle_exception_that_propagates_is_one_event(telemetry: Telemetry) -> None:
    """Without catchall the server answers for the application."""
    app = shop()
    app.catchall = False
    with pytest.raises(ValueError, match="of a callback"):
        call(app, "/fail")
    assert recorded(telemetry) == [("GET /fail", 500, "ValueError", 1)]


def test_bottle_stream_that_fails_keeps_its_status(telemetry: Telemetry) -> None:
    """A failure after the first byte is an error of a request with status 200."""
    with pytest.raises(OSError, match="in the stream"):
        call(shop(), "/broken")
    assert recorded(telemetry) == [("GET /broken", 200, "OSError", 1)]


@pytest.mark.parametrize("prefix", ["/mounted/", "/mounted"], ids=["merged", "application of its own"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bottle_mount_has_the_whole_rule(telemetry: Telemetry, prefix: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Both kinds of mounts are one request with the prefix in its route."""
    outer = Bottle()
    outer.mount(prefix, shop())
    assert call(outer, "/mounted/items/7").body == b"7"
    assert call(outer, "/mounted/fail").status == 500
    assert recorded(telemetry) == [
        ("GET /mounted/items/<number:int>", 200, None, 0),
        ("GET /mounted/fail", 500, "ValueError", 1),
    ]
