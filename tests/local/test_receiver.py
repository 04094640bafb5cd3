"""OTLP over HTTP: accepted requests, refused requests, and the state after a refusal."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_distro.local.body import MAX_INFLATED, MAX_SENT
from otel_distro.local.receiver import MAX_CONNECTIONS, Receiver
from otel_distro.local.store import MAX_QUEUED_REQUESTS, Store
from tests.support.otlp import START_NS, Log, gauge, logs, send, span, traces

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tests.local.conftest import Query

ONE_SPAN = traces([span(1)])


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", ONE_SPAN),
        ("gzip", gzip.compress(ONE_SPAN)),
        ("deflate", zlib.compress(ONE_SPAN)),
        ("gzip", gzip.compress(ONE_SPAN[:20]) + gzip.compress(ONE_SPAN[20:])),
    ],
    ids=["plain", "gzip", "deflate", "gzip in two members"],
)
def test_body_in_every_encoding_is_stored(port: int, query: Query, encoding: str, body: bytes) -> None:
    """Plain, gzip (in several members too) and deflate bodies give the same row.

    The response is protobuf.
    """
    answer = send(port, body, headers={"Content-Encoding": encoding} if encoding else {})
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"", "application/x-protobuf")
    assert query("select name, dur_ns, hex(span_id) from span") == [("work", 1_000_000, "0000000000000001")]


def test_chunked_body_is_stored(port: int, query: Query) -> None:
    """A body of unknown length, in chunks, is accepted."""
    chunks = iter([ONE_SPAN[:7], ONE_SPAN[7:]])
    assert send(port, chunks, headers={"Transfer-Encoding": "chunked"}).status == 200
    assert query("select count(*) from span") == [(1,)]


def test_signal_has_its_path(port: int, query: Query) -> None:
    """Logs and metrics arrive beside traces."""
    assert send(port, logs([Log("hello", severity=13)]), "/v1/logs").status == 200
    assert send(port, gauge("queue.length", [(START_NS, 7.5, {"queue": "mail"})]), "/v1/metrics").status == 200
    assert query("select sev, body, ts from log") == [(13, "hello", START_NS)]
    assert query("select name, kind, attrs, ts, val from series join point using (sid)") == [
        ("queue.length", "gauge", '{"queue":"mail"}', START_NS, 7.5)
    ]


def test_json_body_gives_the_rows_of_protobuf(port: int, query: Query) -> None:
    """OTLP's JSON, with hexadecimal identifiers and numbers as text, gives the same rows."""
    body = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "0" * 31 + "1",
                                "spanId": "0" * 15 + "1",
                                "name": "work",
                                "kind": 1,
                                "startTimeUnixNano": str(START_NS),
                                "endTimeUnixNano": str(START_NS + 1_000_000),
                                "fieldOfTheFuture": [1],
                            }
                        ]
                    }
                ],
            }
        ]
    }
    answer = send(port, json.dumps(body).encode(), content_type="application/json; charset=utf-8")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"{}", "application/json")
    rows = query("select * from span")
    assert send(port, ONE_SPAN).status == 200
    assert query("select * from span") == rows
    assert query("select service from resource") == [("shop",)]


def test_exporter_of_the_sdk_is_served(port: int, query: Query) -> None:
    """OpenTelemetry's exporter delivers a span with its error, gzipped, on a kept connection."""
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces", compression=None)
    provider = TracerProvider(resource=Resource({"service.name": "real"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with pytest.raises(ValueError, match="bad row"), tracer.start_as_current_span("outer"):
        raise ValueError("bad row")
    with tracer.start_as_current_span("second"):
        pass
    provider.shutdown()
    assert query("select name, status from span order by id") == [("outer", 2), ("second", 0)]
    assert query("select type, n, culprit like '%test_receiver.py:%' from exc_group") == [("ValueError", 1, 1)]


BOMB = gzip.compress(b"\0" * (MAX_INFLATED + 1), 9)

REFUSED = {
    "gzip that is none": (ONE_SPAN, {"Content-Encoding": "gzip"}, 400, "compression not valid"),
    "gzip cut short": (gzip.compress(ONE_SPAN)[:-9], {"Content-Encoding": "gzip"}, 400, "compression not valid"),
    "gzip bomb": (BOMB, {"Content-Encoding": "gzip"}, 413, "body too large"),
    "unknown encoding": (ONE_SPAN, {"Content-Encoding": "br"}, 415, "content encoding not supported"),
    "protobuf cut short": (ONE_SPAN[:-3], {}, 400, "body not valid"),
    "not protobuf": (b"\xff" * 40, {}, 400, "body not valid"),
    "too large": (b"\0" * (MAX_SENT + 1), {}, 413, "body too large"),
    "json that is none": (b"{", {"Content-Type": "application/json"}, 400, "body not valid"),
    "json that is a list": (b"[1]", {"Content-Type": "application/json"}, 400, "body not valid"),
    "json too deep": (b"[" * 100_000, {"Content-Type": "application/json"}, 400, "body not valid"),
    "json with bad ids": (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}',
        {"Content-Type": "application/json"},
        400,
        "body not valid",
    ),
    "what a web page may send": (ONE_SPAN, {"Content-Type": "text/plain"}, 415, "content type not supported"),
    "a host that DNS rebinding gives": (ONE_SPAN, {"Host": "evil.example"}, 421, "host not allowed"),
    "our name with another port": (ONE_SPAN, {"Host": "localhost:1"}, 421, "host not allowed"),
    "length that is no number": (ONE_SPAN, {"Content-Length": "-5"}, 400, "length not valid"),
    "length beyond all sizes": (ONE_SPAN, {"Content-Length": "9" * 5000}, 400, "length not valid"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_request_is_answered_and_counted(port: int, query: Query, case: str) -> None:
    """The client gets the status, the reason is counted with an example, nothing is stored.

    The next request is stored.
    """
    body, headers, status, reason = REFUSED[case]
    answer = send(port, body, content_type=None, headers={"Content-Type": "application/x-protobuf", **headers})
    assert answer.status == status
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert query("select signal, reason, n from dropped") == [("traces", reason, 1)]
    assert query("select count(*) from span") == [(0,)]
    assert send(port, ONE_SPAN).status == 200
    assert query("select count(*) from span") == [(1,)]


def test_refused_request_gets_a_status_message(port: int) -> None:
    """The body of an error is a ``google.rpc.Status``."""
    answer = send(port, ONE_SPAN, headers={"Content-Encoding": "br"})
    assert Status.FromString(answer.body).message == "content encoding not supported: br"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\n\r\n", b"411"),
        (
            (
                b"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\n"
                b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
            ),
            b"400",
        ),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"OPTIONS /v1/traces HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_malformed_request_is_refused(port: int, raw: bytes, status: bytes) -> None:
    """No length, broken chunks, no or a foreign host, a preflight: each is refused."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(raw.replace(b"{host}", b"127.0.0.1:%d" % port))
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert status in answer.split(b"\r\n")[0] or b"Error code: " + status in answer
    assert b"Access-Control" not in answer


def test_unknown_path_is_not_found(port: int) -> None:
    """Only ``/healthz`` and the three paths of OTLP exist; telemetry cannot be read."""
    assert send(port, ONE_SPAN, "/v1/profiles").status == 404
    assert send(port, b"", "/", method="GET").status == 404
    assert send(port, b"", "/v1/traces", method="GET").status == 404


def test_healthz_identifies_the_server(port: int) -> None:
    """A second command can distinguish this server from another one."""
    answer = send(port, b"", "/healthz", method="GET")
    assert (answer.status, json.loads(answer.body)["product"]) == (200, "otel-distro")


def test_full_queue_requests_a_retry_and_loses_nothing(store: Store, port: int, query: Query) -> None:
    """While the writer is blocked, requests get 503 and Retry-After; accepted ones are stored."""
    gate = threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        gate.wait(20)

    store.submit(hold)
    accepted = 0
    for number in range(1, MAX_QUEUED_REQUESTS + 40):
        answer = send(port, traces([span(number)]))
        if answer.status == 503:
            break
        accepted += 1
    gate.set()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert query("select count(*) from span") == [(accepted,)]
    assert send(port, traces([span(accepted + 1)])).status == 200


def test_many_concurrent_clients_lose_nothing(port: int, query: Query) -> None:
    """With more clients than connections each span is stored once, after retries."""

    def client(number: int) -> None:
        body = traces([span(1000 * number + n) for n in range(1, 6)])
        for _ in range(3):
            statuses = (send(port, body).status for _ in range(1000))
            refused = list(itertools.takewhile(lambda status: status != 200, statuses))
            assert set(refused) <= {503}
            assert len(refused) < 1000

    with ThreadPoolExecutor(MAX_CONNECTIONS + 16) as pool:
        list(pool.map(client, range(1, 161)))
    assert query("select count(*), count(distinct span_id) from span") == [(800, 800)]


def idle(port: int, count: int) -> Iterator[socket.socket]:
    """Open connections that have sent a request and wait for the next one."""
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % port)
        assert connection.recv(4096)
        yield connection


def test_idle_connections_do_not_block_others(port: int) -> None:
    """With twice as many kept connections as the limit, the next client is served all the same."""
    with ExitStack() as stack:
        for connection in idle(port, 2 * MAX_CONNECTIONS):
            stack.enter_context(connection)
        assert send(port, ONE_SPAN).status == 200


def test_stop_closes_port_and_idle_connections(store: Store) -> None:
    """After stop the port is closed, a waiting client sees the end, and the store still accepts."""
    receiver = Receiver(store).start()
    (connection,) = idle(receiver.port, 1)
    receiver.stop()
    assert connection.recv(1) == b""
    connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", receiver.port), timeout=20)
    assert store.put("traces", ONE_SPAN)


def test_receiver_listens_on_loopback_only(store: Store) -> None:
    """Another address of this machine, even of the loopback network, refuses connections."""
    with Receiver(store) as receiver, pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", receiver.port), timeout=20)
