"""A WSGI application inside a request: what the server gets, and when the request ends."""

from __future__ import annotations

import gc
import io
import weakref
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from otel_distro import schema
from otel_distro.errors import deferred
from otel_distro.instrumentation._http_server import wsgi
from otel_distro.instrumentation._http_server.carrier import CARRIER_KEY
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_distro.testing import Telemetry

DURATION, ACTIVE = schema.HTTP_SERVER_DURATION.name, schema.HTTP_SERVER_ACTIVE.name


def environment(where: str = "/orders/7", **more: Any) -> dict[str, Any]:
    """Return the environment of a request as a server makes it."""
    return {"REQUEST_METHOD": "GET", "PATH_INFO": where, "SCRIPT_NAME": "", "QUERY_STRING": "", "REMOTE_ADDR": "192.0.2.7",
            "SERVER_NAME": "made", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
            "HTTP_HOST": "shop.example:8080", "wsgi.input": io.BytesIO(), **more}  # fmt: skip


def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> None:
    """Take the start of a response."""


def serve(app: Callable[..., Any], environ: dict[str, Any]) -> list[bytes]:
    """Call an application and use its response as a server does."""
    result = wsgi.wrap_application(app, Options("MADE"))(environ, start_response)
    try:
        return list(result)
    finally:
        if hasattr(result, "close"):
            result.close()


def fine(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Answer 200 with a list."""
    start("200 OK", [("Content-Type", "text/plain"), ("X-Made", "y")])
    return [b"fine"]


def test_request_is_one_span_and_one_measurement_with_the_conventions_attributes(telemetry: Telemetry) -> None:
    """Server address and port are apart; no attribute of the measurement depends on the client."""
    assert serve(fine, environment(QUERY_STRING="page=2", HTTP_USER_AGENT="made/1")) == [b"fine"]
    (span,) = telemetry.spans()
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.SERVER, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/orders/7",
        "url.query": "page=2",
        "server.address": "shop.example",
        "server.port": 8080,
        "client.address": "192.0.2.7",
        "network.protocol.version": "1.1",
        "user_agent.original": "made/1",
        "http.response.status_code": 200,
    }
    (point,) = telemetry.metric(DURATION)
    assert point.count == 1
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert [(each.value, dict(each.attributes)) for each in telemetry.metric(ACTIVE)] == [
        (0, {"http.request.method": "GET", "url.scheme": "http"})
    ]


@pytest.mark.parametrize(
    ("given", "address", "port"),
    [("a.example", "a.example", 8080), ("[::1]:90", "::1", 90), ("::1", "::1", 8080), ("a:x", "a:x", 8080), ("a:999999", "a", 8080)],
)  # fmt: skip
def test_host_header_is_address_and_port(telemetry: Telemetry, given: str, address: str, port: int) -> None:
    """Without a port in the header it is the server's; nonsense stays an address."""
    serve(fine, environment(HTTP_HOST=given))
    (span,) = telemetry.spans()
    found = span.attributes or {}
    assert (found["server.address"], found["server.port"]) == (address, port)


@pytest.mark.parametrize(("method", "name", "attribute"), [("post", "POST", "POST"), ("BREW", "HTTP", "_OTHER")])
def test_method_is_a_known_one_or_other(telemetry: Telemetry, method: str, name: str, attribute: str) -> None:
    """Methods that clients make up do not become names or series."""
    serve(fine, environment(REQUEST_METHOD=method))
    (span,) = telemetry.spans()
    assert (span.name, (span.attributes or {})["http.request.method"]) == (name, attribute)
    assert (span.attributes or {}).get("http.request.method_original") == ("BREW" if name == "HTTP" else None)


def test_lists_and_files_are_returned_as_they_are(telemetry: Telemetry) -> None:
    """A server looks at their types: the length of a list, the descriptor of a file."""
    listed, file = [b"a"], io.BytesIO(b"b")
    wrapped = FileWrapper(io.BytesIO(b"c"))
    for result in (listed, file, wrapped):

        def app(environ: Any, start: Any, result: Any = result) -> Any:
            start("200 OK", [])
            return result

        returned = wsgi.wrap_application(app, Options("MADE"))(
            environment() | {"wsgi.file_wrapper": FileWrapper}, start_response
        )
        assert returned is result
    assert len(telemetry.spans()) == 2
    wrapped.close()
    assert len(telemetry.spans()) == 3


def test_streamed_response_is_the_request_until_it_is_closed(telemetry: Telemetry) -> None:
    """Each step runs in the request's span, which is not current between the steps."""
    seen: list[int] = []
    closed: list[bool] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            seen.append(trace.get_current_span().get_span_context().span_id)
            yield b"a"
            seen.append(trace.get_current_span().get_span_context().span_id)
            yield b"b"

        def __len__(self) -> int:
            return 2

        def close(self) -> None:
            seen.append(trace.get_current_span().get_span_context().span_id)
            closed.append(True)

    def app(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        return Chunks()

    response = wsgi.wrap_application(app, Options("MADE"))(environment(), start_response)
    assert len(response) == 2
    steps = iter(response)
    assert next(steps) == b"a"
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert telemetry.metric(ACTIVE)[0].value == 1
    assert list(steps) == [b"b"]
    assert telemetry.spans() == ()
    response.close()
    (span,) = telemetry.spans()
    assert span.context is not None
    assert seen == [span.context.span_id] * 3
    assert closed == [True]


def test_response_that_is_never_closed_ends_with_its_iterable(telemetry: Telemetry) -> None:
    """A server without close() leaves no request behind, and no garbage for the collector."""

    def app(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        yield b"a"

    gc.disable()
    try:
        environ = environment()
        response = wsgi.wrap_application(app, Options("MADE"))(environ, start_response)
        request = weakref.ref(environ[CARRIER_KEY].span)
        assert list(response) == [b"a"]
        del response, environ
        deferred.drain()
        assert len(telemetry.spans()) == 1
        assert request() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "in the stream"])
def test_exception_is_one_event_and_the_servers_answer(telemetry: Telemetry, late: bool) -> None:
    """Before the first byte the client gets 500; after it the status stays, and both are errors."""

    def app(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        yield b"a"
        raise KeyError("made")

    def broken(environ: Any, start: Any) -> Any:
        raise KeyError("made")

    with pytest.raises(KeyError, match="made"):
        serve(app if late else broken, environment())
    (span,) = telemetry.spans()
    found = span.attributes or {}
    assert [event.name for event in span.events] == ["exception"]
    assert (span.status.status_code, found["error.type"]) == (StatusCode.ERROR, "KeyError")
    assert found["http.response.status_code"] == (200 if late else 500)
    (point,) = telemetry.metric(DURATION)
    assert point.attributes["error.type"] == "KeyError"
    assert telemetry.metric(ACTIVE)[0].value == 0


def test_exception_before_the_first_part_is_a_500(telemetry: Telemetry) -> None:
    """The given status has not left the server by then. No response at all is a 500, too."""

    def late(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        yield b""
        raise KeyError("made")

    with pytest.raises(KeyError, match="made"):
        serve(late, environment())
    results: list[Any] = [None, []]
    silent = wsgi.wrap_application(lambda environ, start: results.pop(), Options("MADE"))
    while results:
        silent(environment(), start_response)
    assert [(span.attributes or {})["http.response.status_code"] for span in telemetry.spans()] == [500, 500, 500]


def test_response_of_500_is_an_error_and_of_404_is_none(telemetry: Telemetry) -> None:
    """Without an exception the type of the error is the status."""
    for status in ("503 Service Unavailable", "404 Not Found"):
        serve(lambda environ, start, status=status: start(status, []) or [], environment())
    failed, missing = telemetry.spans()
    assert (failed.status.status_code, (failed.attributes or {})["error.type"]) == (StatusCode.ERROR, "503")
    assert (missing.status.status_code, "error.type" in (missing.attributes or {})) == (StatusCode.UNSET, False)


def test_answer_of_500_to_a_client_that_left_is_none(telemetry: Telemetry) -> None:
    """A framework makes it of what its server has raised, and no client gets it."""

    class ClientDisconnected(Exception):
        pass

    def app(environ: Any, start: Any) -> Any:
        error = ClientDisconnected()
        start("500 Internal Server Error", [], (type(error), error, None))
        return []

    serve(app, environment())
    (span,) = telemetry.spans()
    assert (span.status.status_code, list(span.events)) == (StatusCode.UNSET, [])
    assert not {"error.type", "http.response.status_code"} & set(span.attributes or {})


def test_nested_applications_are_one_request(telemetry: Telemetry) -> None:
    """An inner one, or the same request through an adapter, adds no span; another request does."""

    def outer(environ: Any, start: Any) -> Any:
        adapted = {key: value for key, value in environ.items() if key != CARRIER_KEY}
        serve(fine, adapted)
        serve(fine, environment("/other"))
        return wsgi.wrap_application(fine, Options("MADE"))(environ, start)

    serve(outer, environment())
    other, whole = telemetry.spans()
    assert [(each.attributes or {})["url.path"] for each in (other, whole)] == ["/other", "/orders/7"]
    assert other.parent is not None
    assert whole.context is not None
    assert other.parent.span_id == whole.context.span_id


def test_carrier_with_a_request_is_copied_and_pickled(telemetry: Telemetry) -> None:
    """The request is no obstacle: a copy shares it, a pickle leaves it out."""
    import copy
    import pickle

    found: list[Any] = []

    def app(environ: Any, start: Any) -> Any:
        plain = {key: value for key, value in environ.items() if key != "wsgi.input"}
        found.append(copy.deepcopy(plain)[CARRIER_KEY] is environ[CARRIER_KEY])
        found.append(pickle.loads(pickle.dumps(plain))[CARRIER_KEY])
        return fine(environ, start)

    serve(app, environment())
    assert found == [True, False]
