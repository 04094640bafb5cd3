"""Exceptions that a client causes by leaving, raised by real servers, and those that are errors."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import threading
import types
from importlib import import_module
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import cheroot.wsgi
import pytest
import werkzeug.serving
from aiohttp import web

from otel_distro.errors import answers
from otel_distro.errors.sources import hooks
from otel_distro.instrumentation._http_server import wsgi
from otel_distro.instrumentation._http_server.options import Options
from tests.support.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.testing import Telemetry

_TIMEOUT_S = 20
_RESET = struct.pack("ii", 1, 0)
"""Makes the end of a connection its reset."""


class _Writer:
    """An application that writes until it fails; ``error`` is what the server has raised."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.left = threading.Event()
        self.ended = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                write(b"x" * 100_000)
        except Exception as error:
            self.error = error
            raise
        finally:
            self.ended.set()


def _leave(port: int) -> None:
    """Ask, read the first bytes of the response and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: made\r\n\r\n")
        assert client.recv(10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class _Silent(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


class _SilentOfWerkzeug(werkzeug.serving.WSGIRequestHandler):
    def log(self, *arguments: Any) -> None:
        """Print nothing."""


def _with_wsgiref(app: Any, port: int) -> None:
    with make_server("127.0.0.1", port, app, handler_class=_Silent) as server:
        _serve_once(server.handle_request, port)


def _with_werkzeug(app: Any, port: int) -> None:
    with werkzeug.serving.make_server("127.0.0.1", port, app, request_handler=_SilentOfWerkzeug) as server:
        _serve_once(server.handle_request, port)


def _serve_once(handle: Callable[[], None], port: int) -> None:
    thread = threading.Thread(target=handle)
    thread.start()
    _leave(port)
    thread.join(_TIMEOUT_S)
    assert not thread.is_alive()


def _with_waitress(app: Any, port: int) -> None:
    server: Any = import_module("waitress").create_server(app, host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    _leave(port)
    assert app.ended.wait(_TIMEOUT_S)
    server.trigger.pull_trigger(server.close)
    thread.join(_TIMEOUT_S)


def _with_cheroot(app: Any, port: int) -> None:
    server: Any = cheroot.wsgi.Server(("127.0.0.1", port), app)
    server.error_log = lambda *arguments, **named: None
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    _leave(port)
    assert app.ended.wait(_TIMEOUT_S)
    server.stop()
    thread.join(_TIMEOUT_S)


@pytest.mark.parametrize("serve", [_with_wsgiref, _with_werkzeug, _with_waitress, _with_cheroot])
def test_write_to_a_client_that_left_is_no_error(serve: Callable[[Any, int], None]) -> None:
    """Whatever the server raises into the application."""
    app, (port,) = _Writer(), free_ports(1)
    serve(app, port)
    assert app.error is not None
    assert answers.kind_of(app.error) == "control", repr(app.error)


def test_request_of_a_client_that_left_is_no_error(telemetry: Telemetry) -> None:
    """Neither the span nor the counter has the exception that leaves the application."""
    app, (port,) = _Writer(), free_ports(1)
    _with_wsgiref(wsgi.wrap_application(app, Options("WSGI", is_server=True)), port)
    (span,) = telemetry.spans()
    assert isinstance(app.error, OSError)
    assert (span.status.is_ok or span.status.is_unset, list(span.events)) == (True, [])
    assert "error.type" not in (span.attributes or {})


def test_write_of_aiohttp_to_a_client_that_left_is_no_error() -> None:
    """Its exception is a class of its client."""
    found: list[BaseException] = []

    async def run() -> None:
        ended = asyncio.Event()

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x" * 100_000)
            except Exception as error:
                found.append(error)
                raise
            finally:
                ended.set()

        app = web.Application()
        app.router.add_get("/", stream)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await asyncio.to_thread(_leave, runner.addresses[0][1])
        await asyncio.wait_for(ended.wait(), _TIMEOUT_S)
        await runner.cleanup()

    asyncio.run(run())
    (error,) = found
    assert isinstance(error, ConnectionError)
    assert answers.kind_of(error) == "control"


def _write_to_closed_pipe(*_: Any) -> Any:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        os.write(writer, b"x")
    finally:
        os.close(writer)


def test_broken_pipe_of_the_application_is_an_error(telemetry: Telemetry) -> None:
    """Its frame is the innermost one, also inside of a server."""
    (port,) = free_ports(1)

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: made\r\n\r\n")
            while client.recv(1000):
                pass

    app = wsgi.wrap_application(_write_to_closed_pipe, Options("WSGI", is_server=True))
    with make_server("127.0.0.1", port, app, handler_class=_Silent) as server:
        thread = threading.Thread(target=ask)
        thread.start()
        server.handle_request()
        thread.join(_TIMEOUT_S)
    (span,) = telemetry.spans()
    assert ((span.attributes or {}).get("error.type"), len(span.events)) == ("BrokenPipeError", 1)


def test_address_in_use_is_an_error() -> None:
    """A server that cannot start has no client."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError) as caught:
            make_server("127.0.0.1", taken.getsockname()[1], _write_to_closed_pipe)
        assert answers.kind_of(caught.value) == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write error", "control"),
        ("error during read(100) on wsgi.input", "control"),
        ("timeout during read(100) on wsgi.input", "control"),
        ("disk error", ""),
    ],
)
def test_exceptions_of_uwsgi_are_known_by_their_text(monkeypatch: pytest.MonkeyPatch, text: str, kind: str) -> None:
    """They have no frame and no number; elsewhere the same text is an error."""
    assert answers.kind_of(OSError(text)) == ""
    monkeypatch.setitem(sys.modules, "uwsgi", types.ModuleType("uwsgi"))
    assert answers.kind_of(OSError(text)) == kind


def test_hook_that_uwsgi_calls_for_a_client_that_left_records_nothing(
    monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry
) -> None:
    """It prints the exception with the hook of a main program, which is called all the same."""
    monkeypatch.setitem(sys.modules, "uwsgi", types.ModuleType("uwsgi"))
    printed: list[BaseException] = []
    hook = hooks.wrap_main_hook(lambda kind, error, tb: printed.append(error))
    lost, broken = OSError("write error"), OSError("disk error")
    for error in (lost, broken):
        hook(OSError, error, None)
    assert printed == [lost, broken]
    assert [each.log_record.body for each in telemetry.logs()] == ["OSError: disk error"]
