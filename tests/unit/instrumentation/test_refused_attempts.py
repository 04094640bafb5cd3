"""A refused request or a login is one audit event, with client, target and reason."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, ClassVar

import django
import flask
import pytest
from django.conf import settings as django_settings
from django.contrib.auth import signals
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path
from fastapi import FastAPI, HTTPException
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as Asgi
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as Wsgi
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from werkzeug.exceptions import Unauthorized

from otel_distro import schema
from otel_distro.instrumentation.refused_attempts import RefusedAttemptsInstrumentor
from tests.support.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

REFUSED, LOGIN = schema.AUDIT_HTTP_REFUSED.name, schema.AUDIT_AUTH_LOGIN.name


@pytest.fixture
def audited(telemetry: Telemetry) -> Iterator[None]:
    """Install the instrumentor."""
    RefusedAttemptsInstrumentor().instrument()
    yield
    RefusedAttemptsInstrumentor().uninstrument()


def audit_events(telemetry: Telemetry, event: str = REFUSED) -> list[dict[str, Any]]:
    """Return the attributes of the events with this name."""
    logs = [found.log_record for found in telemetry.logs()]
    return [dict(log.attributes or {}) for log in logs if log.event_name == event]


def request_wsgi(app: Any, where: str, **environ: str) -> str:
    """Send a request to a WSGI application as a server does; return the status."""
    statuses: list[str] = []
    whole = {"REQUEST_METHOD": "GET", "PATH_INFO": where, "QUERY_STRING": "token=x", "REMOTE_ADDR": "192.0.2.7",
             "SERVER_NAME": "made", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), **environ}  # fmt: skip
    list(app(whole, lambda status, headers, error=None: statuses.append(status)))
    return statuses[0]


def request_asgi(app: Any, where: str, kind: str = "http", **more: Any) -> list[dict[str, Any]]:
    """Send a request to an ASGI application as a server does; return its messages."""
    sent: list[dict[str, Any]] = []
    scope = {"type": kind, "method": "GET", "path": where, "query_string": b"token=x", "client": ("192.0.2.7", 5),
             "headers": [], "scheme": "http", "server": ("made", 80), "root_path": "", "http_version": "1.1", **more}  # fmt: skip

    incoming = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        if not incoming:
            # The client stays connected until the response is there.
            await asyncio.Event().wait()
        return incoming.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("wrap", [lambda app: app, Wsgi], ids=["alone", "in the middleware"])
def test_flask_refusals_are_one_event_each(audited: object, telemetry: Telemetry, wrap: Callable[[Any], Any]) -> None:
    """A werkzeug exception and a plain response count once each; the path has no query."""
    app = flask.Flask("made")

    @app.get("/users/<name>")
    def user(name: str) -> Any:
        if name == "raised":
            raise Unauthorized
        return "no", 403 if name == "answered" else 404

    with trace.get_tracer("made").start_as_current_span("request") as span:
        assert request_wsgi(wrap(app), "/users/raised")[:3] == "401"
    assert request_wsgi(wrap(app), "/users/answered", REQUEST_METHOD="HEAD")[:3] == "403"
    assert request_wsgi(wrap(app), "/users/unknown")[:3] == "404"
    first, second = audit_events(telemetry)
    assert first == {
        "audit.name": "http.refused",
        "audit.outcome": "failure",
        "audit.target": "/users/<name>",
        "audit.reason": "401 Unauthorized",
        "audit.source": "http",
        "client.address": "192.0.2.7",
        "http.request.method": "GET",
        "http.response.status_code": 401,
        "http.route": "/users/<name>",
        "url.path": "/users/raised",
    }
    assert (second["http.response.status_code"], second["http.request.method"]) == (403, "HEAD")
    assert telemetry.logs()[0].log_record.trace_id == span.get_span_context().trace_id
    (point,) = telemetry.metric(schema.AUDIT_EVENTS.name)
    assert (point.value, point.attributes["audit.name"]) == (2, "http.refused")


@pytest.mark.parametrize("wrap", [lambda app: app, Asgi], ids=["alone", "in the middleware"])
def test_mounted_fastapi_refusal_is_one_event(
    audited: object, telemetry: Telemetry, wrap: Callable[[Any], Any]
) -> None:
    """A refusal is one event, also if several applications wrap the route."""
    api = FastAPI()

    @api.get("/items/{number}")
    async def item(number: int) -> None:
        raise HTTPException(403 if number else 404)

    async def secret(request: object) -> PlainTextResponse:
        return PlainTextResponse("no", 401)

    app = wrap(Starlette(routes=[Route("/secret/{name}", secret), Mount("/api", api)]))
    assert request_asgi(app, "/secret/x")[0]["status"] == 401
    assert request_asgi(wrap(api), "/items/7")[0]["status"] == 403
    assert request_asgi(app, "/api/items/7")[0]["status"] == 403
    assert request_asgi(app, "/api/items/0")[0]["status"] == 404
    found = audit_events(telemetry)
    assert [(each["http.response.status_code"], each["url.path"]) for each in found] == [
        (401, "/secret/x"),
        (403, "/items/7"),
        (403, "/api/items/7"),
    ]
    assert [each["http.route"] for each in found[:2]] == ["/secret/{name}", "/items/{number}"]
    assert {each["client.address"] for each in found} == {"192.0.2.7"}


def test_websocket_closed_before_accept_is_a_403(audited: object, telemetry: Telemetry) -> None:
    """A WebSocket that is accepted and then closed is not refused."""

    async def talk(socket: Any) -> None:
        if socket.url.path.endswith("open"):
            await socket.accept()
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/talk/{how}", talk)])
    request_asgi(app, "/talk/open", "websocket")
    request_asgi(app, "/talk/closed", "websocket")
    (found,) = audit_events(telemetry)
    assert (found["url.path"], found["http.response.status_code"]) == ("/talk/closed", 403)


def deny(request: Any, name: str) -> HttpResponse:
    """Refuse in the way that the path names."""
    if name == "raised":
        raise PermissionDenied
    return HttpResponse("no", status=401 if name == "answered" else 200)


urlpatterns = [path("users/<name>", deny)]


@pytest.fixture(scope="module")
def configured() -> None:
    """Configure Django minimally."""
    if not django_settings.configured:
        django_settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
        django.setup()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["wsgi", "asgi"])
def test_django_refusals_are_one_event_each(
    configured: object, audited: object, telemetry: Telemetry, asynchronous: bool
) -> None:
    """Exceptions and responses count once each, by WSGI and by ASGI with views in threads."""
    for name in ("raised", "answered", "fine"):
        if asynchronous:
            request_asgi(ASGIHandler(), f"/users/{name}", headers=[(b"host", b"made")])
        else:
            request_wsgi(WSGIHandler(), f"/users/{name}", HTTP_HOST="made")
    found = audit_events(telemetry)
    assert [(each["http.response.status_code"], each["url.path"]) for each in found] == [
        (403, "/users/raised"),
        (401, "/users/answered"),
    ]
    assert {(each["http.route"], each["client.address"]) for each in found} == {("users/<name>", "192.0.2.7")}


class User:
    """A user who has logged in."""

    pk = 7

    def get_username(self) -> str:
        return "jane"


class Request:
    """A request with a client address."""

    META: ClassVar = {"REMOTE_ADDR": "2001:db8::1"}


def test_django_login_signals_become_audit_events(audited: object, telemetry: Telemetry) -> None:
    """A failed login has the name that was tried, never the password; a good one the user."""
    signals.user_login_failed.send(
        "made", credentials={"password": "********************", "username": "eve\n" + "x" * 200}, request=Request()
    )
    signals.user_login_failed.send("made", credentials={}, request=None)
    signals.user_logged_in.send("made", user=User(), request=Request())
    failed, unknown, good = audit_events(telemetry, LOGIN)
    assert failed["audit.actor"].startswith("eve\N{REPLACEMENT CHARACTER}xx")
    assert len(failed["audit.actor"]) == 100
    assert (failed["audit.outcome"], failed["audit.source"], failed["client.address"]) == (
        "failure", "framework", "2001:db8::1",
    )  # fmt: skip
    assert unknown == {
        "audit.name": "auth.login", "audit.outcome": "failure", "audit.source": "framework",
    }  # fmt: skip
    assert (good["audit.outcome"], good["audit.actor"], good["user.id"]) == ("success", "jane", "7")


def test_uninstrumented_audits_nothing(telemetry: Telemetry) -> None:
    """After ``uninstrument()`` neither responses nor logins are audited."""
    RefusedAttemptsInstrumentor().instrument()
    RefusedAttemptsInstrumentor().uninstrument()
    app = flask.Flask("made")
    app.add_url_rule("/", view_func=lambda: ("no", 403))
    request_wsgi(app, "/")
    signals.user_login_failed.send("made", credentials={}, request=None)
    assert list(telemetry.logs()) == []


def be_refused() -> None:
    """Ask a Flask application for what it refuses."""
    app: Any = flask.Flask("made")
    app.add_url_rule("/secret", view_func=lambda: ("no", 403))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/secret", "REMOTE_ADDR": "192.0.2.7", "SERVER_NAME": "made",
               "SERVER_PORT": "80", "wsgi.url_scheme": "http"}  # fmt: skip
    for _ in app(environ, lambda status, headers: lambda data: None):
        pass


CONTRACT = Contract(
    be_refused,
    inside="otel_distro.instrumentation._access.audit_events.AccessAudit.refused",
    names={schema.AUDIT_HTTP_REFUSED.name, schema.AUDIT_EVENTS.name},
    suppressible=False,
    owners=(flask.Flask,),
)
