"""Servers of WSGI in this process: bytes and headers as bare, each request a root span."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref import simple_server

import cheroot.wsgi
import pytest
from flask import Flask
from opentelemetry import trace
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import WSGIRequestHandler, make_server

from otel_distro.instrumentation.flask_apps import FlaskInstrumentor
from otel_distro.instrumentation.wsgi_servers import WSGIServersInstrumentor
from tests.support.wsgi_calls import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

PATHS = ("/list", "/list2", "/empty", "/sized", "/steps", "/late", "/write", "/file", "/nowhere")
CONTENT = bytes(range(256)) * 100


@pytest.fixture(autouse=True)
def uninstrumented(stable_names: None) -> Iterator[None]:
    """Leave servers and Flask as they were."""
    yield
    WSGIServersInstrumentor().uninstrument()
    FlaskInstrumentor().uninstrument()


class Sized:
    """A response that says how many items it has, and counts how often it is closed."""

    closed = 0

    def __init__(self, *items: bytes) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.items)

    def close(self) -> None:
        Sized.closed += 1


def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """A WSGI application without a framework, with one path for each kind of response."""
    where, headers = environ["PATH_INFO"], [("Content-Type", "text/plain")]

    def steps(late: bool) -> Iterator[bytes]:
        if late:
            start_response("202 Accepted", headers)
        yield b"a"
        yield b"b"

    if where == "/fail":
        raise ValueError("of the application")
    if where == "/late":
        return steps(late=True)
    if where == "/empty":
        start_response("204 No Content", [])
        return []
    write = start_response("404 Not Found" if where == "/nowhere" else "200 OK", headers)
    if where == "/write":
        write(b"written")
        return []
    if where == "/file":
        return environ.get("wsgi.file_wrapper", lambda file: iter([file.read()]))(io.BytesIO(CONTENT))
    return {"/list": [b"one"], "/sized": Sized(b"sized"), "/steps": steps(late=False)}.get(where, [b"one", b"two"])


class Quiet(simple_server.WSGIRequestHandler):
    """Prints nothing."""

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


class QuietWerkzeug(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, *arguments: Any) -> None:
        """Log nothing."""


@contextmanager
def serving(kind: str, app: Any) -> Iterator[int]:
    """Serve an application inside a span, as a command does; yields the port."""
    with trace.get_tracer("made").start_as_current_span("command"):
        if kind == "wsgiref":
            server: Any = simple_server.make_server("127.0.0.1", 0, app, handler_class=Quiet)
            run, stop, port = server.serve_forever, server.shutdown, server.server_port
        elif kind == "werkzeug":
            server = make_server("127.0.0.1", 0, app, request_handler=QuietWerkzeug)
            run, stop, port = server.serve_forever, server.shutdown, server.server_port
        else:
            server = cheroot.wsgi.Server(("127.0.0.1", 0), app, numthreads=1)
            server.prepare()
            run, stop, port = server.serve, server.stop, server.bind_addr[1]
        current = trace.get_current_span()

        def run_in_span() -> None:
            with trace.use_span(current):
                run()

        thread = threading.Thread(target=run_in_span)
        thread.start()
    try:
        yield port
    finally:
        stop()
        thread.join(30)
        if hasattr(server, "server_close"):
            server.server_close()


def ask(port: int, path: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, {key: value for key, value in response.getheaders() if key != "Date"}


def until(condition: Callable[[], bool]) -> None:
    """Wait until the server has closed its last response."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["wsgiref", "werkzeug", "cheroot"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_server_sends_the_same_as_bare_and_each_request_is_a_root(
    telemetry: Telemetry, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes, headers and closing are those without telemetry; a command's span is no parent."""
    Sized.closed = 0
    with serving(kind, bare) as port:
        expected = [ask(port, path) for path in PATHS]
    closed, Sized.closed = Sized.closed, 0
    WSGIServersInstrumentor().instrument()
    with serving(kind, bare) as port:
        assert [ask(port, path) for path in PATHS] == expected
        assert ask(port, "/fail")[0] == 500
        until(lambda: len([each for each in telemetry.spans() if each.attributes]) == len(PATHS) + 1)
    assert Sized.closed == closed == 1
    spans = [each for each in telemetry.spans() if each.attributes]
    assert [each.parent for each in spans] == [None] * len(spans)
    assert [each.status for each in recorded(telemetry)] == [each[0] for each in expected] + [500]
    assert recorded(telemetry)[-1] == ("GET", 500, "ValueError", 1)


def test_framework_inside_middleware_is_one_request_with_its_route_and_settings(telemetry: Telemetry) -> None:
    """The server begins the request; the framework adds its route, and its excluded URLs hold."""
    FlaskInstrumentor().instrument(excluded_urls="health")
    WSGIServersInstrumentor().instrument()
    app = Flask("shop")
    app.get("/items/<int:number>")(lambda number: "fine")

    @app.get("/health")
    def health() -> str:
        return str(trace.get_current_span().is_recording())

    with serving("wsgiref", ProxyFix(app)) as port:
        assert ask(port, "/items/7")[:2] == (200, b"fine")
        assert ask(port, "/health")[:2] == (200, b"False")
        until(lambda: len(telemetry.spans()) == 2)
    assert recorded(telemetry) == [("GET /items/<int:number>", 200, None, 0)]


def test_client_that_leaves_ends_the_request(telemetry: Telemetry, capfd: pytest.CaptureFixture[str]) -> None:
    """The response is closed, nothing is an error, and no request stays active."""
    WSGIServersInstrumentor().instrument()
    gone = threading.Event()

    def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(10_000):
            yield b"a" * 65_536
            gone.wait(30)

    with serving("wsgiref", endless) as port:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(10)
        connection.close()
        gone.set()
        until(lambda: len([each for each in telemetry.spans() if each.attributes]) == 1)
    assert recorded(telemetry) == [("GET", 200, None, 0)]
