"""The classification of each answer of an HTTP server, on real connections."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from email.utils import formatdate

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_distro.export.send.endpoint import OtlpEndpoint
from otel_distro.export.send.http_sender import ExportResult, Outcome, Sender
from tests.support.items import content
from tests.support.otlp_server import Answer, Server, http


def send(server: Server, *, timeout: float = 10.0, body: bytes = b"body", gzip_: bool = False) -> Outcome:
    """Send one body over a connection of its own."""
    sender = Sender(OtlpEndpoint(server.url, {"content-type": "application/x-protobuf"}, gzip=gzip_))
    try:
        return sender.send(body, timeout)
    finally:
        sender.close()


PARTIAL = ExportTraceServiceResponse()
PARTIAL.partial_success.rejected_spans = 3
PARTIAL.partial_success.error_message = "too old"
PARTIAL_LOGS = ExportLogsServiceResponse()
PARTIAL_LOGS.partial_success.rejected_log_records = 4


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(), Outcome(ExportResult.SUCCESS, status=200)),
        (http(kind=""), Outcome(ExportResult.SUCCESS, status=200)),
        (http("202 Accepted"), Outcome(ExportResult.SUCCESS, status=202)),
        # Loki's own OTLP endpoint answers so.
        (b"HTTP/1.1 204 No Content\r\n\r\n", Outcome(ExportResult.SUCCESS, status=204)),
        (http(body=PARTIAL.SerializeToString()), Outcome(ExportResult.SUCCESS, rejected=3, status=200)),
        (http(body=PARTIAL_LOGS.SerializeToString()), Outcome(ExportResult.SUCCESS, rejected=4, status=200)),
        (
            http(body=b'{"partialSuccess": {"rejectedSpans": "5"}}', kind="application/json; charset=utf-8"),
            Outcome(ExportResult.SUCCESS, rejected=5, status=200),
        ),
        (http(body=b'{"partialSuccess": null}', kind="application/json"), Outcome(ExportResult.SUCCESS, status=200)),
        (http(body=b"[]", kind="application/json"), Outcome(ExportResult.SUCCESS, status=200)),
        (http(body=b"\xff\xff\xff not protobuf"), Outcome(ExportResult.SUCCESS, status=200)),
        (
            http(body=b"<html>Welcome!</html>", kind="text/html; charset=utf-8"),
            Outcome(ExportResult.RETRYABLE, "HTTP 200 that is not OTLP (text/html)", status=200),
        ),
        (
            http(body=b"ok", kind=""),
            Outcome(ExportResult.RETRYABLE, "HTTP 200 that is not OTLP (no content type)", status=200),
        ),
        (
            http("301 Moved Permanently", b"", "", "Location: https://elsewhere.invalid/"),
            Outcome(ExportResult.RETRYABLE, "HTTP 301 Moved Permanently", status=301),
        ),
        (http("400 Bad Request"), Outcome(ExportResult.PERMANENT, "HTTP 400 Bad Request", status=400)),
        (http("401 Unauthorized"), Outcome(ExportResult.RETRYABLE, "HTTP 401 Unauthorized", status=401)),
        (http("403 Forbidden"), Outcome(ExportResult.RETRYABLE, "HTTP 403 Forbidden", status=403)),
        (http("404 Not Found"), Outcome(ExportResult.RETRYABLE, "HTTP 404 Not Found", status=404)),
        (http("408 Request Timeout"), Outcome(ExportResult.RETRYABLE, "HTTP 408 Request Timeout", status=408)),
        (http("413 Payload Too Large"), Outcome(ExportResult.PERMANENT, "HTTP 413 Payload Too Large", status=413)),
        (http("422 Unprocessable"), Outcome(ExportResult.PERMANENT, "HTTP 422 Unprocessable", status=422)),
        (http("429 Too Many Requests"), Outcome(ExportResult.RETRYABLE, "HTTP 429 Too Many Requests", status=429)),
        (http("503"), Outcome(ExportResult.RETRYABLE, "HTTP 503", status=503)),
    ],
)
def test_answer_is_classified(answer: bytes, expected: Outcome) -> None:
    """OTLP with 2xx is success, a fault of the content is permanent, all else is retryable."""
    with Server(answer) as server:
        assert send(server) == expected
        assert server.requests[0].body == b"body"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("86400", 60.0),
        ("1e309", 60.0),
        ("-1", 0.0),
        ("-1e309", 0.0),
        ("NaN", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("\u0663", 3.0),
    ],
)
def test_retry_after_is_obeyed_within_bounds(value: str, seconds: float) -> None:
    """``Retry-After`` gives 0 to 60 seconds, whatever it holds."""
    raw = http("429 Too Many Requests", b"", "").replace(b"\r\n\r\n", f"\r\nRetry-After: {value}\r\n\r\n".encode())
    with Server(raw) as server:
        outcome = send(server)
    assert outcome.answer is ExportResult.RETRYABLE
    # Header values are Latin-1: a digit of another script arrives as no number at all.
    assert outcome.retry_after == (0.0 if value == "\u0663" else seconds)


def test_retry_after_as_a_date_gives_the_seconds_until_then() -> None:
    """A date in ``Retry-After`` gives the seconds until then."""
    with Server(http("503 Busy", b"", "", f"Retry-After: {formatdate(time.time() + 30, usegmt=True)}")) as server:
        assert 20 < send(server).retry_after <= 30


def test_hanging_server_is_retryable_after_the_timeout() -> None:
    """A server that reads a request and never answers is left after the timeout."""
    server = Server()
    server.answers[:] = [server.hang]
    with server:
        outcome = send(server, timeout=0.2)
    assert (outcome.answer, outcome.reason) == (ExportResult.RETRYABLE, "TimeoutError: timed out")


def _reset(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\npart")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _endless_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 100)


def _endless_line(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        connection.sendall(b"x" * 4096)


def _endless_continue(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def _trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        _reset,
        _endless_headers,
        _endless_line,
        _endless_continue,
        _trickle,
        socket.socket.close,
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: twelve\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 two-hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-protobuf\r\n\r\nzzz\r\n",
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_broken_answer_is_retryable(answer: Answer) -> None:
    """An answer that breaks off, never ends or is no HTTP is retryable and raises nothing."""
    with Server(answer) as server:
        assert send(server, timeout=0.3).answer is ExportResult.RETRYABLE


def test_refused_connection_is_retryable_with_the_reason() -> None:
    """A refused connection is retryable, with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = Sender(OtlpEndpoint(f"http://127.0.0.1:{port}/v1/traces")).send(b"body", 5.0)
    assert outcome.answer is ExportResult.RETRYABLE
    assert outcome.reason.startswith("ConnectionRefusedError")


@pytest.mark.parametrize(
    "url", ["http://nowhere.invalid/v1/traces", "http://127.0.0.1:99999/", "http://[::1/", "http://a b/"]
)
def test_impossible_url_is_retryable(url: str) -> None:
    """Whatever the endpoint is, sending does not raise."""
    assert Sender(OtlpEndpoint(url)).send(b"body", 5.0).answer is ExportResult.RETRYABLE


def test_connection_is_reused_for_later_requests() -> None:
    """One connection serves all requests, whatever the status and the framing of the body."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-protobuf\r\n\r\n"
    body = PARTIAL.SerializeToString()
    answers = [
        http(body=body),
        chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        chunked + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nX-Trailer: 1\r\n\r\n",
        http("503 Busy", b"x" * 60000, "text/html"),
        http(),
    ]
    with Server(*answers) as server:
        sender = Sender(OtlpEndpoint(server.url))
        outcomes = [sender.send(b"%d" % n, 5.0) for n in range(len(answers))]
        sender.close()
    assert [outcome.rejected for outcome in outcomes] == [3, 3, 3, 0, 0]
    assert [content(request) for request in server.requests] == [b"0", b"1", b"2", b"3", b"4"]
    assert server.connections == 1


def test_endless_answer_is_cut_and_its_connection_closed() -> None:
    """Only the start of an endless answer is read; the next request has a new connection."""

    def huge(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with Server(huge, http()) as server:
        sender = Sender(OtlpEndpoint(server.url))
        assert sender.send(b"1", 5.0).reason == "HTTP 500 Oops"
        assert sender.send(b"2", 5.0).answer is ExportResult.SUCCESS
        sender.close()
    assert [request.connection for request in server.requests] == [1, 2]


def test_idle_connection_closed_by_the_server_is_reopened() -> None:
    """If the server closes an idle connection, the request is sent once more on a new one."""

    def answer_and_close(connection: socket.socket) -> None:
        connection.sendall(http())
        connection.shutdown(socket.SHUT_RDWR)

    with Server(answer_and_close, answer_and_close, http()) as server:
        sender = Sender(OtlpEndpoint(server.url))
        assert [sender.send(b"%d" % n, 5.0).answer for n in range(3)] == [ExportResult.SUCCESS] * 3
        sender.close()
    assert [content(request) for request in server.requests] == [b"0", b"1", b"2"]


def test_new_connection_that_breaks_is_not_retried_at_once() -> None:
    """Only an idle connection is reopened: a new one that breaks waits for the next attempt."""
    with Server(socket.socket.close) as server:
        assert send(server).answer is ExportResult.RETRYABLE
    assert len(server.requests) == 1


def test_request_has_path_headers_and_compression() -> None:
    """Path with its query, headers of the endpoint and, if set, gzip: as OTLP/HTTP says."""
    with Server() as server:
        sender = Sender(
            OtlpEndpoint(f"{server.url}?tenant=a", {"content-type": "application/x-protobuf", "x-key": "é"})
        )
        sender.send(b"body", 5.0)
        sender.close()
    request = server.requests[0]
    assert (request.method, request.target) == ("POST", "/v1/traces?tenant=a")
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers["x-key"] == "é"
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert gzip.decompress(request.body) == b"body"


def test_reset_after_fork_leaves_the_connection_to_the_parent() -> None:
    """After the reset nothing is sent on the old connection, and a new one is opened."""
    with Server() as server:
        parent, child = Sender(OtlpEndpoint(server.url)), Sender(OtlpEndpoint(server.url))
        parent.send(b"parent", 5.0)
        child._connection = parent._connection
        child.reset_after_fork()
        child.send(b"child", 5.0)
        child.close()
    assert [request.connection for request in server.requests] == [1, 2]


def test_http_uses_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``http_proxy`` gets the whole URL and the credentials of its own URL."""
    with Server() as proxy:
        monkeypatch.setenv("http_proxy", f"http://us%40er:pa%3Ass@127.0.0.1:{proxy.port}")
        sender = Sender(OtlpEndpoint("http://collector.invalid:4318/v1/traces"))
        assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
        sender.close()
    request = proxy.requests[0]
    assert request.target == "http://collector.invalid:4318/v1/traces"
    assert request.headers["host"] == "collector.invalid:4318"
    assert request.headers["proxy-authorization"] == "Basic dXNAZXI6cGE6c3M="


@pytest.mark.parametrize("names", [{"no_proxy": "127.0.0.1"}, {}])
def test_host_of_no_proxy_or_loopback_is_reached_without_proxy(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, str]
) -> None:
    """No proxy is used for hosts in ``no_proxy`` and for this machine."""
    with Server() as server, Server(http("502 Bad Gateway")) as proxy:
        for name, value in {"http_proxy": f"http://127.0.0.1:{proxy.port}", **names}.items():
            monkeypatch.setenv(name, value)
        assert send(server).answer is ExportResult.SUCCESS
        assert proxy.requests == []


def test_ipv6_address_is_an_endpoint() -> None:
    """An IPv6 address in brackets is an endpoint like any other."""
    with Server(host="::1") as server:
        sender = Sender(OtlpEndpoint(f"http://[::1]:{server.port}/v1/traces"))
        assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
        sender.close()
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"
