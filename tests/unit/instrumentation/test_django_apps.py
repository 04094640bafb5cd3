"""Requests of Django applications: both handlers, the test clients, exceptions, hooks."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.conf import settings
from opentelemetry import trace

from otel_distro.instrumentation._http_server import asgi
from otel_distro.instrumentation._http_server.options import Options
from otel_distro.instrumentation.django_apps import DjangoInstrumentor
from tests.support import asgi_calls
from tests.support.wsgi_calls import call, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry

URLS = "tests_django_urls"

if not settings.configured:
    # Once in a process: the paths are those of the other module that needs Django.
    others = f"{__package__}.test_refused_attempts"
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=others, SECRET_KEY="made", LOGGING_CONFIG=None)
    django.setup()

from django.core.exceptions import PermissionDenied  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import Http404, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient, Client, override_settings  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402

CASES = [
    ("/", "GET /", 200, None, 0),
    ("/acme/items/7/", "GET /<slug:tenant>/items/<int:number>/", 200, None, 0),
    ("/acme/old/7", "GET /<slug:tenant>/old/(?P<number>[0-9]+)$", 200, None, 0),
    ("/nowhere", "GET", 404, None, 0),
    ("/missing", "GET /missing", 404, None, 0),
    ("/forbidden", "GET /forbidden", 403, None, 0),
    ("/fail", "GET /fail", 500, "ValueError", 1),
]


def view(request: Any, **parameters: Any) -> HttpResponse:
    """Raise what the path says."""
    errors: dict[str, BaseException] = {
        "/missing": Http404(),
        "/forbidden": PermissionDenied(),
        "/fail": ValueError("of a view"),
    }
    error = errors.get(request.path)
    if error is not None:
        raise error
    return HttpResponse("fine")


def stream(request: Any) -> StreamingHttpResponse:
    """Fail after the first item."""

    def steps() -> Iterator[bytes]:
        yield str(trace.get_current_span().is_recording()).encode()
        raise OSError("in the stream")

    return StreamingHttpResponse(steps())


@pytest.fixture(autouse=True)
def uninstrumented(stable_names: None) -> Iterator[None]:
    """Serve the paths of this module, and leave Django as it was."""
    inner = [path("items/<int:number>/", view), re_path(r"^old/(?P<number>[0-9]+)$", view)]
    module: Any = types.ModuleType(URLS)
    module.urlpatterns = [
        path("", view),
        path("<slug:tenant>/", include(inner)),
        path("stream", stream),
        *(path(each, view) for each in ("missing", "forbidden", "fail")),
    ]
    sys.modules[URLS] = module
    with override_settings(ROOT_URLCONF=URLS, ALLOWED_HOSTS=["*"], MIDDLEWARE=[], DEBUG=False):
        yield
    del sys.modules[URLS]
    DjangoInstrumentor().uninstrument()


@pytest.mark.parametrize(("where", "name", "status", "error", "events"), CASES)
def test_django_request_has_the_whole_route_and_one_exception(
    telemetry: Telemetry, where: str, name: str, status: int, error: str | None, events: int
) -> None:
    """The route has the prefixes of include() and a slash in front; 404 and 403 are answers."""
    DjangoInstrumentor().instrument()
    assert call(WSGIHandler(), where).status == status
    assert recorded(telemetry) == [(name, status, error, events)]


@pytest.mark.parametrize(("where", "name", "status", "error", "events"), CASES)
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_django_test_client_makes_requests(
    telemetry: Telemetry, kind: str, where: str, name: str, status: int, error: str | None, events: int
) -> None:
    """A client that calls the handler itself records what a server would."""
    DjangoInstrumentor().instrument()
    if kind == "Client":
        assert Client(raise_request_exception=False).get(where).status_code == status
    else:
        client = AsyncClient(raise_request_exception=False)
        assert asyncio.run(client.get(where)).status_code == status
    assert recorded(telemetry) == [(name, status, error, events)]


@pytest.mark.parametrize(("where", "name", "status", "error", "events"), CASES)
def test_django_asgi_request_has_the_whole_route_and_one_exception(
    telemetry: Telemetry, where: str, name: str, status: int, error: str | None, events: int
) -> None:
    """The same under ASGI."""
    DjangoInstrumentor().instrument()
    sent: list[Any] = []

    async def ask() -> None:
        waiting = asyncio.Event()
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            for message in messages:
                return message
            return await waiting.wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": where, "headers": [(b"host", b"shop.example")],
                 "server": ("made", 80), "client": ("192.0.2.7", 1), "query_string": b"", "http_version": "1.1"}  # fmt: skip
        handler: Any = ASGIHandler()
        await handler(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == status
    assert recorded(telemetry) == [(name, status, error, events)]


def test_django_stream_that_fails_keeps_its_status(telemetry: Telemetry) -> None:
    """The span is current in each step of a stream."""
    DjangoInstrumentor().instrument()
    with pytest.raises(OSError, match="in the stream"):
        call(WSGIHandler(), "/stream")
    response = Client().get("/stream")
    assert telemetry.spans()[0].name == "GET /stream"
    assert len(telemetry.spans()) == 1
    with pytest.raises(OSError, match="in the stream"):
        list(response)
    response.close()
    assert [each[:3] for each in recorded(telemetry)] == [("GET /stream", 200, "OSError"), ("GET /stream", 200, None)]


def test_django_exception_that_propagates_is_one_event(telemetry: Telemetry) -> None:
    """With DEBUG_PROPAGATE_EXCEPTIONS it leaves the handler: the server answers for it."""
    DjangoInstrumentor().instrument()
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True), pytest.raises(ValueError, match="of a view"):
        call(WSGIHandler(), "/fail")
    assert recorded(telemetry) == [("GET /fail", 500, "ValueError", 1)]


def test_django_prefix_of_the_server_is_part_of_the_route(telemetry: Telemetry) -> None:
    """Django's routes begin after it."""
    DjangoInstrumentor().instrument()
    call(WSGIHandler(), "/acme/items/7/", SCRIPT_NAME="/api")
    assert [each.name for each in recorded(telemetry)] == ["GET /api/<slug:tenant>/items/<int:number>/"]


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_django_hooks_get_upstreams_arguments(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """They get Django's request and response; the variable names attributes of the request."""
    monkeypatch.setenv("OTEL_PYTHON_DJANGO_TRACED_REQUEST_ATTRS", "path_info,content_type")
    given: list[Any] = []

    def on_request(span: trace.Span, request: Any) -> None:
        given.append((span.is_recording(), request.path))

    def on_response(span: trace.Span, request: Any, response: Any) -> None:
        given.append((span.is_recording(), request.path, response.status_code))

    DjangoInstrumentor().instrument(request_hook=on_request, response_hook=on_response, excluded_urls="nowhere")
    for where in ("/acme/items/7/", "/nowhere"):
        if kind == "Client":
            Client().get(where)
        else:
            asyncio.run(AsyncClient().get(where))
    (span,) = telemetry.spans()
    assert (span.attributes or {})["path_info"] == "/acme/items/7/"
    assert given == [(True, "/acme/items/7/"), (True, "/acme/items/7/", 200)]


def test_django_is_left_alone_where_the_variable_says_so(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_PYTHON_DJANGO_INSTRUMENT=False is upstream's switch."""
    monkeypatch.setenv("OTEL_PYTHON_DJANGO_INSTRUMENT", "False")
    DjangoInstrumentor().instrument()
    assert Client().get("/").status_code == 200
    assert telemetry.spans() == ()


def test_django_asgi_application_mounted_by_middleware_has_the_prefix(telemetry: Telemetry) -> None:
    """A server has begun the request outside of the middleware."""
    DjangoInstrumentor().instrument()
    inner: Any = ASGIHandler()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/inner"}, receive, send)

    app = asgi.wrap_application(middleware, Options("ASGI", {}, is_server=True))
    asgi_calls.ask(app, "/inner/acme/items/7/")
    assert [each.name for each in recorded(telemetry)] == ["GET /inner/<slug:tenant>/items/<int:number>/"]
