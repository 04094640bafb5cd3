"""Calls WSGI applications in the test process as a server does, and shows what was recorded."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_distro import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.testing import Telemetry

DURATION, ACTIVE = schema.HTTP_SERVER_DURATION.name, schema.HTTP_SERVER_ACTIVE.name


class Answer(NamedTuple):
    """Status and body that a client got."""

    status: int
    body: bytes


class Recorded(NamedTuple):
    """A request as its span shows it, without what is the same in every test."""

    name: str
    status: Any
    error: Any
    events: int


def environment(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """Return the environment of a request as a server makes it."""
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "192.0.2.7",
        "SERVER_NAME": "made",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **more,
    }


def call(app: Callable[..., Any], path: str, method: str = "GET", **more: Any) -> Answer:
    """Return the answer of an application; it is closed, also after a failure in its body."""
    started: list[str] = []

    def start_response(status: str, headers: Any, error: Any = None) -> Any:
        started[:] = [status]
        return lambda data: None

    result = app(environment(path, method, **more), start_response)
    try:
        body = b"".join(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    return Answer(int(started[0][:3]), body)


def recorded(telemetry: Telemetry) -> list[Recorded]:
    """Return the requests, and check that each has one measurement and is no longer active."""
    found = []
    for span in telemetry.spans():
        attributes = span.attributes or {}
        if attributes.get("url.path") is not None:
            status, error = attributes.get("http.response.status_code"), attributes.get("error.type")
            found.append(Recorded(span.name, status, error, len(span.events)))
            assert attributes.get("http.route", "") == span.name.partition(" ")[2]
    assert sum(point.count for point in telemetry.metric(DURATION)) == len(found)
    assert {point.value for point in telemetry.metric(ACTIVE)} <= {0}
    return found
