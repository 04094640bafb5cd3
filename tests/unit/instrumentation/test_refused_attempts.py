"""A request that is refused is told once, with who asked for what; hostile values stay short and harmless."""

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
from otel_distro.instrumentation._refusals.reports import Reports
from otel_distro.instrumentation.refused_attempts import RefusedAttemptsInstrumentor
from tests.support.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

REFUSED, LOGIN = schema.AUDIT_HTTP_REFUSED.name, schema.AUDIT_AUTH_LOGIN.name


@pytest.fixture
def audited(telemetry: Telemetry) -> Iterator[None]:
    """The instrumentor at work."""
    RefusedAttemptsInstrumentor().instrument()
    yield
    RefusedAttemptsInstrumentor().uninstrument()


def told(telemetry: Telemetry, event: str = REFUSED) -> list[dict[str, Any]]:
    """Return the attributes of the events called so."""
    logs = [found.log_record for found in telemetry.logs()]
    return [dict(log.attributes or {}) for log in logs if log.event_name == event]


def ask_wsgi(app: Any, where: str, **environ: str) -> str:
    """Ask a WSGI application as a server does; return the status."""
    statuses: list[str] = []
    whole = {"REQUEST_METHOD": "GET", "PATH_INFO": where, "QUERY_STRING": "token=x", "REMOTE_ADDR": "192.0.2.7",
             "SERVER_NAME": "made", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), **environ}  # fmt: skip
    list(app(whole, lambda status, headers, error=None: statuses.append(status)))
    return statuses[0]


def ask_asgi(app: Any, where: str, kind: str = "http", **more: Any) -> list[dict[str, Any]]:
    """Ask an ASGI application as a server does; return its messages."""
    sent: list[dict[str, Any]] = []
    scope = {"type": kind, "method": "GET", "path": where, "query_string": b"token=x", "client": ("192.0.2.7", 5),
             "headers": [], "scheme": "http", "server": ("made", 80), "root_path": "", "http_version": "1.1", **more}  # fmt: skip

    asked = [{"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        if not asked:
            # The client stays until it has its answer.
            await asyncio.Event().wait()
        return asked.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("wrap", [lambda app: app, Wsgi], ids=["alone", "in the middleware"])
def test_flask(audited: object, telemetry: Telemetry, wrap: Callable[[Any], Any]) -> None:
    """An exception of werkzeug and an answer made by hand count once each; the path is told without its query."""
    app = flask.Flask("made")

    @app.get("/users/<name>")
    def user(name: str) -> Any:
        if name == "raised":
            raise Unauthorized
        return "no", 403 if name == "answered" else 404

    with trace.get_tracer("made").start_as_current_span("request") as span:
        assert ask_wsgi(wrap(app), "/users/raised")[:3] == "401"
    assert ask_wsgi(wrap(app), "/users/answered", REQUEST_METHOD="HEAD")[:3] == "403"
    assert ask_wsgi(wrap(app), "/users/unknown")[:3] == "404"
    first, second = told(telemetry)
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
def test_fastapi_mounted_in_starlette(audited: object, telemetry: Telemetry, wrap: Callable[[Any], Any]) -> None:
    """However many applications stand around the route that refuses, one event tells of it."""
    api = FastAPI()

    @api.get("/items/{number}")
    async def item(number: int) -> None:
        raise HTTPException(403 if number else 404)

    async def secret(request: object) -> PlainTextResponse:
        return PlainTextResponse("no", 401)

    app = wrap(Starlette(routes=[Route("/secret/{name}", secret), Mount("/api", api)]))
    assert ask_asgi(app, "/secret/x")[0]["status"] == 401
    assert ask_asgi(wrap(api), "/items/7")[0]["status"] == 403
    assert ask_asgi(app, "/api/items/7")[0]["status"] == 403
    assert ask_asgi(app, "/api/items/0")[0]["status"] == 404
    found = told(telemetry)
    assert [(each["http.response.status_code"], each["url.path"]) for each in found] == [
        (401, "/secret/x"),
        (403, "/items/7"),
        (403, "/api/items/7"),
    ]
    assert [each["http.route"] for each in found[:2]] == ["/secret/{name}", "/items/{number}"]
    assert {each["client.address"] for each in found} == {"192.0.2.7"}


def test_refused_web_socket(audited: object, telemetry: Telemetry) -> None:
    """One that is closed before it was accepted is answered with 403; one that was accepted is not refused."""

    async def talk(socket: Any) -> None:
        if socket.url.path.endswith("open"):
            await socket.accept()
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/talk/{how}", talk)])
    ask_asgi(app, "/talk/open", "websocket")
    ask_asgi(app, "/talk/closed", "websocket")
    (found,) = told(telemetry)
    assert (found["url.path"], found["http.response.status_code"]) == ("/talk/closed", 403)


def deny(request: Any, name: str) -> HttpResponse:
    """Refuse in the way that the path says."""
    if name == "raised":
        raise PermissionDenied
    return HttpResponse("no", status=401 if name == "answered" else 200)


urlpatterns = [path("users/<name>", deny)]


@pytest.fixture(scope="module")
def configured() -> None:
    """The least that Django needs."""
    if not django_settings.configured:
        django_settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
        django.setup()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["wsgi", "asgi"])
def test_django(configured: object, audited: object, telemetry: Telemetry, asynchronous: bool) -> None:
    """Exceptions and answers count once each, by both ways in, although an ASGI application runs views in threads."""
    for name in ("raised", "answered", "fine"):
        if asynchronous:
            ask_asgi(ASGIHandler(), f"/users/{name}", headers=[(b"host", b"made")])
        else:
            ask_wsgi(WSGIHandler(), f"/users/{name}", HTTP_HOST="made")
    found = told(telemetry)
    assert [(each["http.response.status_code"], each["url.path"]) for each in found] == [
        (403, "/users/raised"),
        (401, "/users/answered"),
    ]
    assert {(each["http.route"], each["client.address"]) for each in found} == {("users/<name>", "192.0.2.7")}


class User:
    """Somebody who has logged in."""

    pk = 7

    def get_username(self) -> str:
        return "jane"


class Request:
    """As much of a request as tells who asks."""

    META: ClassVar = {"REMOTE_ADDR": "2001:db8::1"}


def test_logins_of_django(audited: object, telemetry: Telemetry) -> None:
    """A failed login tells the name that was tried and never the password, a good one who it is."""
    signals.user_login_failed.send(
        "made", credentials={"password": "********************", "username": "eve\n" + "x" * 200}, request=Request()
    )
    signals.user_login_failed.send("made", credentials={}, request=None)
    signals.user_logged_in.send("made", user=User(), request=Request())
    failed, unknown, good = told(telemetry, LOGIN)
    assert failed["audit.actor"].startswith("eve\N{REPLACEMENT CHARACTER}xx")
    assert len(failed["audit.actor"]) == 100
    assert (failed["audit.outcome"], failed["audit.source"], failed["client.address"]) == (
        "failure", "framework", "2001:db8::1",
    )  # fmt: skip
    assert unknown == {
        "audit.name": "auth.login", "audit.outcome": "failure", "audit.source": "framework",
    }  # fmt: skip
    assert (good["audit.outcome"], good["audit.actor"], good["user.id"]) == ("success", "jane", "7")


def test_uninstrumented_tells_nothing(telemetry: Telemetry) -> None:
    """After ``uninstrument()`` neither answers nor logins are told."""
    RefusedAttemptsInstrumentor().instrument()
    RefusedAttemptsInstrumentor().uninstrument()
    app = flask.Flask("made")
    app.add_url_rule("/", view_func=lambda: ("no", 403))
    ask_wsgi(app, "/")
    signals.user_login_failed.send("made", credentials={}, request=None)
    assert list(telemetry.logs()) == []


@pytest.mark.parametrize(
    ("address", "forwarded", "trusted", "client"),
    [
        ("192.0.2.7", ["203.0.113.9"], False, "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], True, "203.0.113.9"),
        ("192.0.2.7", ["6.6.6.6, 203.0.113.9:4711"], True, "203.0.113.9"),
        ("192.0.2.7", ["6.6.6.6", "[2001:db8::5]:80"], True, "2001:db8::5"),
        ("192.0.2.7", ["6.6.6.6, <script>"], True, "192.0.2.7"),
        ("192.0.2.7", ["x" * 10**6], True, "192.0.2.7"),
        ("192.0.2.7", [], True, "192.0.2.7"),
        ("::ffff:192.0.2.7", [], False, "192.0.2.7"),
        ("", [], False, ""),
        (None, [], False, ""),
        ("a\nb" + "c" * 99, [], False, "a\N{REPLACEMENT CHARACTER}b" + "c" * 60 + "…"),
    ],
)
def test_address_of_the_client(
    monkeypatch: pytest.MonkeyPatch, address: object, forwarded: list[str], trusted: bool, client: str
) -> None:
    """It is the server's word, or behind a trusted proxy the last address of the header, which the proxy has written."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_TRUST_PROXY", str(trusted).lower())
    assert Reports().client(address, forwarded) == client


def test_limit_of_each_client(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """One client cannot fill the log or hide another; what is not told of it is counted."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_RATE_LIMIT", "3")
    reports = Reports()
    for client in ["192.0.2.7"] * 10 + ["192.0.2.8"]:
        reports.refused(401, method="BREW", path="/" + "p" * 10**6, route="", client=client)
    found = told(telemetry)
    assert [each["client.address"] for each in found] == ["192.0.2.7"] * 3 + ["192.0.2.8"]
    assert (len(found[0]["url.path"]), found[0]["http.request.method"]) == (256, "_OTHER")
    (point,) = telemetry.metric(schema.AUDIT_EVENTS_RATE_LIMITED.name)
    assert (point.value, dict(point.attributes)) == (7, {"audit.name": "http.refused"})


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
    inside="otel_distro.instrumentation._refusals.reports.Reports.refused",
    names={schema.AUDIT_HTTP_REFUSED.name, schema.AUDIT_EVENTS.name},
    suppressible=False,
    owners=(flask.Flask,),
)
