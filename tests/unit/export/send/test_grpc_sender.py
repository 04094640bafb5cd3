"""The classification of each status of a gRPC server, on real connections."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from otel_distro.export.send.endpoint import USER_AGENT, otlp_endpoint
from otel_distro.export.send.grpc_sender import GrpcSender
from otel_distro.export.send.http_sender import ExportResult, Outcome
from tests.support.grpc_server import GrpcServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BODY = b"\n\x00" * 40


def member(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message that holds bytes."""
    return bytes((number << 3 | 2, len(content))) + content


# google.rpc.Status with code 8, a message and two details; the second says 7.5 s.
RETRY_INFO = (
    b"\x08\x08"
    + member(2, b"busy")
    + member(3, member(1, b"type.googleapis.com/google.rpc.DebugInfo") + member(2, b"x"))
    + member(
        3,
        member(1, b"type.googleapis.com/google.rpc.RetryInfo")
        + member(2, member(1, b"\x08\x07\x10\x80\xca\xb5\xee\x01")),
    )
)


class Recording:
    """The calls that came, and the answer: bytes, or a status, details and trailing metadata."""

    def __init__(self) -> None:
        self.answer: bytes | tuple[str, str, tuple[tuple[str, bytes], ...]] = b""
        self.calls: list[tuple[str, Mapping[str, Any], bytes]] = []
        self.server = GrpcServer(self._handle)

    def _handle(self, method: str, metadata: Mapping[str, Any], body: bytes, context: Any) -> bytes:
        self.calls.append((method, metadata, body))
        if isinstance(self.answer, bytes):
            return self.answer
        code, details, trailers = self.answer
        context.set_trailing_metadata(trailers)
        context.abort(grpc.StatusCode[code], details)
        raise AssertionError("abort raises")


@pytest.fixture(scope="module")
def recording() -> Iterator[Recording]:
    """A server that gives the answer set by the test."""
    found = Recording()
    yield found
    found.server.stop()


def sender(port: int, signal: str = "traces", **settings: str) -> GrpcSender:
    """Return a sender to a port of this machine."""
    environ = {"PROTOCOL": "grpc", "ENDPOINT": f"http://127.0.0.1:{port}", **settings}
    return GrpcSender(
        otlp_endpoint(signal, {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in environ.items()}), signal
    )


def send(used: GrpcSender, timeout: float = 10.0) -> Outcome:
    """Send one body and close."""
    try:
        return used.send(BODY, timeout)
    finally:
        used.close()


PARTIAL = ExportLogsServiceResponse()
PARTIAL.partial_success.rejected_log_records = 4


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Outcome(ExportResult.SUCCESS)),
        (PARTIAL.SerializeToString(), Outcome(ExportResult.SUCCESS, rejected=4)),
        (b"\xff\xff not protobuf", Outcome(ExportResult.SUCCESS)),
        *(
            ((name, "busy", ()), Outcome(ExportResult.RETRYABLE, f"gRPC {name}: busy"))
            for name in (
                *("CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE"),
                *("DATA_LOSS", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "UNKNOWN", "INTERNAL"),
            )
        ),
        (("UNAVAILABLE", "x" * 1000, ()), Outcome(ExportResult.RETRYABLE, ("gRPC UNAVAILABLE: " + "x" * 1000)[:200])),
        (("INVALID_ARGUMENT", "bad span", ()), Outcome(ExportResult.PERMANENT, "gRPC INVALID_ARGUMENT")),
        (
            ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (5 vs. 4)", ()),
            Outcome(ExportResult.PERMANENT, "gRPC RESOURCE_EXHAUSTED", status=413),
        ),
        (
            ("RESOURCE_EXHAUSTED", "busy", (("grpc-status-details-bin", RETRY_INFO),)),
            Outcome(ExportResult.RETRYABLE, "gRPC RESOURCE_EXHAUSTED: busy", 7.5),
        ),
        (
            ("UNAVAILABLE", "", (("grpc-status-details-bin", b"\x1a\x7fnonsense"),)),
            Outcome(ExportResult.RETRYABLE, "gRPC UNAVAILABLE"),
        ),
    ],
)
def test_status_is_classified(recording: Recording, answer: Any, expected: Outcome) -> None:
    """OK is success, faults of the content are permanent, everything else is retryable."""
    recording.answer = answer
    recording.calls.clear()
    assert send(sender(recording.server.port)) == expected
    assert [(method, body) for method, _, body in recording.calls] == [
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", BODY)
    ]


@pytest.mark.parametrize(
    ("signal", "service"),
    [("traces", "trace.v1.TraceService"), ("metrics", "metrics.v1.MetricsService"), ("logs", "logs.v1.LogsService")],
)
def test_request_has_method_headers_and_user_agent(recording: Recording, signal: str, service: str) -> None:
    """Method, headers and user agent follow OTLP/gRPC; a key that ends in -bin carries bytes."""
    recording.answer = b""
    recording.calls.clear()
    used = sender(recording.server.port, signal, HEADERS="X-Key=a%20b,raw-bin=abc", COMPRESSION="none")
    assert send(used).answer is ExportResult.SUCCESS
    ((method, metadata, _),) = recording.calls
    assert method == f"/opentelemetry.proto.collector.{service}/Export"
    assert (metadata["x-key"], metadata["raw-bin"]) == ("a b", b"abc")
    assert metadata["user-agent"].startswith(USER_AGENT)


def test_invalid_header_is_retryable_with_the_reason(recording: Recording) -> None:
    """A header that gRPC cannot carry fails each attempt; the batch is kept with the reason."""
    outcome = send(sender(recording.server.port, HEADERS="x=a%09b"))
    assert (outcome.answer, outcome.reason) == (ExportResult.RETRYABLE, "gRPC INTERNAL: Invalid metadata")


def test_server_after_an_outage_gets_the_first_request_first() -> None:
    """A refused connection is retryable; the first request after the server's return succeeds."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        used = sender(port)
        for _ in range(5):
            outcome = used.send(BODY, 5.0)
            assert outcome.answer is ExportResult.RETRYABLE
            assert outcome.reason.startswith("gRPC UNAVAILABLE: failed to connect")
    server = GrpcServer(lambda *_: b"", port=port)
    assert used.send(BODY, 5.0) == Outcome(ExportResult.SUCCESS)
    used.close()
    server.stop()


def test_message_beyond_the_servers_limit_is_too_large() -> None:
    """A message longer than the server's limit is permanent with 413, so that it is halved."""
    server = GrpcServer(lambda *_: b"", max_receive_message_length=50)
    outcome = send(sender(server.port, COMPRESSION="none"))
    server.stop()
    assert (outcome.answer, outcome.status) == (ExportResult.PERMANENT, 413)


def test_server_that_never_answers_is_retryable_after_the_timeout() -> None:
    """A request takes no longer than its timeout, and is retryable."""
    asked, closing = threading.Event(), threading.Event()

    def hang(*_: object) -> bytes:
        asked.set()
        closing.wait(60)
        return b""

    server = GrpcServer(hang)
    outcome = send(sender(server.port), timeout=0.5)
    closing.set()
    server.stop()
    assert asked.is_set()
    assert outcome.answer is ExportResult.RETRYABLE
    assert outcome.reason.startswith("gRPC DEADLINE_EXCEEDED")


def test_fork_during_a_request_cancels_it_without_a_reason() -> None:
    """The call is cancelled, counts as no failure of the server, and no library thread is left."""
    asked, closing = threading.Event(), threading.Event()

    def hang(*_: object) -> bytes:
        asked.set()
        closing.wait(60)
        return b""

    server = GrpcServer(hang)
    used = sender(server.port)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(used.send(BODY, 30.0)))
    thread.start()
    assert asked.wait(20)
    used.before_fork()
    thread.join(20)
    closing.set()
    server.stop()
    assert outcomes == [Outcome(ExportResult.RETRYABLE)]
    used.reset_after_fork()
    used.close()


def test_certificates_of_the_settings_are_used(tmp_path: Path) -> None:
    """TLS is used with the given authority and client certificate, and with no other server."""
    authority = trustme.CA()
    identity, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.com")
    files = {"CERTIFICATE": tmp_path / "ca", "CLIENT_CERTIFICATE": tmp_path / "cert", "CLIENT_KEY": tmp_path / "key"}
    authority.cert_pem.write_to_path(str(files["CERTIFICATE"]))
    client.cert_chain_pems[0].write_to_path(str(files["CLIENT_CERTIFICATE"]))
    client.private_key_pem.write_to_path(str(files["CLIENT_KEY"]))
    chain = b"".join(blob.bytes() for blob in identity.cert_chain_pems)
    credentials = grpc.ssl_server_credentials(
        [(identity.private_key_pem.bytes(), chain)], authority.cert_pem.bytes(), require_client_auth=True
    )
    server = GrpcServer(lambda *_: b"", credentials)
    endpoint = f"127.0.0.1:{server.port}"
    settings = {name: str(path) for name, path in files.items()}
    assert send(sender(0, **settings, ENDPOINT=f"https://{endpoint}")) == Outcome(ExportResult.SUCCESS)
    assert send(sender(0, **settings, ENDPOINT=endpoint)) == Outcome(ExportResult.SUCCESS)
    del settings["CERTIFICATE"]
    assert send(sender(0, **settings, ENDPOINT=f"https://{endpoint}")).answer is ExportResult.RETRYABLE
    missing = send(sender(0, ENDPOINT=endpoint, CERTIFICATE=str(tmp_path / "none")))
    assert (missing.answer, missing.reason[:17]) == (ExportResult.RETRYABLE, "FileNotFoundError")
    server.stop()


@pytest.mark.parametrize(
    ("settings", "url", "secure"),
    [
        ({}, "http://localhost:4317", False),
        ({"ENDPOINT": "http://collector:4317/ignored"}, "http://collector:4317", False),
        ({"ENDPOINT": "HTTPS://collector:4317"}, "https://collector:4317", True),
        ({"ENDPOINT": "https://collector:4317", "INSECURE": "true"}, "https://collector:4317", True),
        ({"ENDPOINT": "collector:4317"}, "https://collector:4317", True),
        ({"ENDPOINT": "collector:4317", "INSECURE": "true"}, "http://collector:4317", False),
        ({"ENDPOINT": "collector:4317", "INSECURE": "true", "LOGS_INSECURE": "false"}, "https://collector:4317", True),
        ({"ENDPOINT": "dns:///collector:4317", "INSECURE": "true"}, "dns:///collector:4317", False),
        ({"ENDPOINT": "unix:/run/otlp.sock", "INSECURE": "true"}, "unix:/run/otlp.sock", False),
        ({"ENDPOINT": "http://a:1", "LOGS_ENDPOINT": "http://b:2"}, "http://b:2", False),
        ({"ENDPOINT": "http://user:pass@collector:4317"}, "http://collector:4317", False),
    ],
)
def test_scheme_or_insecure_setting_decides_about_tls(settings: dict[str, str], url: str, secure: bool) -> None:
    """The scheme decides about TLS, without one the variable for it; no path is added."""
    environ = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in settings.items()}
    found = otlp_endpoint("logs", {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc", **environ})
    assert (found.grpc, found.url, found.origin, found.secure) == (True, url, url, secure)
    assert ("authorization" in found.headers) is ("@" in settings.get("ENDPOINT", ""))


def test_unix_socket_is_an_endpoint(tmp_path: Path) -> None:
    """The path of a Unix socket is an endpoint, too."""
    server: Any = grpc.server(ThreadPoolExecutor(1))
    path = os.fspath(tmp_path / "otlp.sock")
    server.add_insecure_port(f"unix:{path}")
    server.start()
    outcome = send(sender(0, ENDPOINT=f"unix:{path}", INSECURE="true"))
    server.stop(0).wait()
    assert outcome.reason.startswith("gRPC UNIMPLEMENTED")
