"""Servers that expect TLS, where the URL says so and where it says ``http``."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from otel_distro._runtime import diagnostics
from otel_distro.export.send import tls
from otel_distro.export.send.endpoint import OtlpEndpoint
from otel_distro.export.send.http_sender import ExportResult, Sender
from tests.support.otlp_server import Server, http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPECTS_TLS = (
    "otel-distro: {} expects TLS: telemetry is sent there encrypted{}; let the endpoint begin with https:// [OD324]\n"
)
HTTPS_ONLY = http(
    "400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n", "text/plain", "Connection: close"
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_last", {})


class Certificates:
    """A test authority, a server certificate for 127.0.0.1 and a client certificate."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "collector.invalid").configure_cert(self.context)
        self.client_authority = trustme.CA()
        self.client_authority.configure_trust(self.context)
        client = self.client_authority.issue_cert("shop@example.invalid")
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        for blob in client.cert_chain_pems:
            blob.write_to_path(str(self.certificate), append=True)
        client.private_key_pem.write_to_path(str(self.key))


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Certificates in files."""
    return Certificates(tmp_path)


def test_authority_of_the_settings_is_trusted(certificates: Certificates) -> None:
    """HTTPS works with a certificate of the authority in the endpoint's file."""
    with Server(tls=certificates.context) as server:
        sender = Sender(OtlpEndpoint(server.url, ca_file=str(certificates.ca)))
        assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
        sender.close()


def test_certificate_of_an_unknown_authority_is_retryable(certificates: Certificates) -> None:
    """A server with a certificate of an unknown authority gets no byte of telemetry."""
    with Server(tls=certificates.context) as server:
        outcome = Sender(OtlpEndpoint(server.url)).send(b"body", 5.0)
        assert outcome.answer is ExportResult.RETRYABLE
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
        assert server.requests == []


@pytest.mark.parametrize("shown", [True, False])
def test_client_certificate_is_sent_when_asked_for(certificates: Certificates, shown: bool) -> None:
    """A server that asks for a client certificate gets the configured one, or no request."""
    certificates.context.verify_mode = ssl.CERT_REQUIRED
    own = (str(certificates.certificate), str(certificates.key)) if shown else (None, None)
    with Server(tls=certificates.context) as server:
        sender = Sender(
            OtlpEndpoint(server.url, ca_file=str(certificates.ca), certificate_file=own[0], key_file=own[1])
        )
        assert sender.send(b"body", 5.0).answer is (ExportResult.SUCCESS if shown else ExportResult.RETRYABLE)
        sender.close()


def test_missing_certificate_file_is_retryable_with_the_reason(certificates: Certificates) -> None:
    """A missing file is retryable, with the reason."""
    with Server(tls=certificates.context) as server:
        outcome = Sender(OtlpEndpoint(server.url, ca_file="/nonexistent/ca.pem")).send(b"body", 5.0)
    assert outcome.answer is ExportResult.RETRYABLE
    assert outcome.reason.startswith("FileNotFoundError")


def test_https_uses_a_tunnel_through_the_proxy(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> None:
    """``https_proxy`` gets CONNECT and its credentials; the server gets the request encrypted."""

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with certificates.context.wrap_socket(connection, server_side=True) as inside:
            with inside.makefile("rb") as stream:
                lines = list(iter(stream.readline, b"\r\n"))
                received.extend([lines[0], stream.read(4)])
            inside.sendall(http())

    received: list[bytes] = []
    with Server(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        sender = Sender(OtlpEndpoint("https://collector.invalid/v1/traces", ca_file=str(certificates.ca), gzip=False))
        assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
        sender.close()
    assert (proxy.requests[0].method, proxy.requests[0].target) == ("CONNECT", "collector.invalid:443")
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert received == [b"POST /v1/traces HTTP/1.1\r\n", b"body"]


@pytest.fixture
def server(certificates: Certificates, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that expects TLS and answers plain HTTP with the parameter of the test, if any."""
    with Server(tls=certificates.context, plain=getattr(request, "param", b"")) as running:
        yield running


def plain(server: Server, **options: str) -> tuple[str, Sender]:
    """Return the ``http`` endpoint of a TLS server, and a sender to it."""
    endpoint = f"http://127.0.0.1:{server.port}"
    return endpoint, Sender(OtlpEndpoint(f"{endpoint}/v1/traces", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("server", [b"", HTTPS_ONLY], ids=["swallowed", "answers 400"], indirect=True)
def test_http_url_of_a_tls_server_is_sent_with_tls_and_reported_once(
    server: Server, certificates: Certificates, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the URL says ``http`` and the server expects TLS, each body is sent once, with TLS."""
    endpoint, sender = plain(server, ca_file=str(certificates.ca))
    for body in (b"one", b"two"):
        assert sender.send(body, 5.0).answer is ExportResult.SUCCESS
    sender.close()
    assert sender.send(b"three", 5.0).answer is ExportResult.SUCCESS
    sender.close()
    assert len(server.requests) == 3
    assert capfd.readouterr().err == EXPECTS_TLS.format(endpoint, "")


def test_http_url_of_an_untrusted_tls_server_is_sent_and_reported(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its certificate does not verify: the bodies arrive, and the line says so."""
    endpoint, sender = plain(server)
    assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
    sender.close()
    said = capfd.readouterr().err
    assert said.startswith(EXPECTS_TLS.format(endpoint, "")[: -len("; let the endpoint begin with https:// [OD324]\n")])
    assert "without checking its certificate (unable to get local issuer certificate)" in said


def test_plain_server_that_rejects_is_probed_once_for_tls(capfd: pytest.CaptureFixture[str]) -> None:
    """A plain HTTP server that rejects a body is probed once; the body stays rejected."""
    with Server(http("400 Bad Request", b"no span", "text/plain")) as server:
        sender = Sender(OtlpEndpoint(server.url))
        assert [sender.send(b"body", 5.0).answer for _ in range(3)] == [ExportResult.PERMANENT] * 3
        sender.close()
        assert (len(server.requests), server.tls_hellos) == (3, 1)
    assert capfd.readouterr().err == ""


def test_server_that_has_answered_http_is_not_probed() -> None:
    """A server that has answered plain HTTP is not probed when a connection breaks later."""
    with Server(http(), lambda connection: connection.close(), lambda connection: connection.close()) as server:
        sender = Sender(OtlpEndpoint(server.url))
        answers = [sender.send(b"body", 5.0).answer for _ in range(2)]
        sender.close()
        assert (answers, len(server.requests), server.tls_hellos) == (
            [ExportResult.SUCCESS, ExportResult.RETRYABLE],
            3,
            0,
        )


def test_refused_connection_is_not_probed() -> None:
    """A collector that does not listen yet is not probed, so that it can be found at once later."""
    with Server() as gone:
        port = gone.port
    sender = Sender(OtlpEndpoint(f"http://127.0.0.1:{port}/v1/traces"))
    assert sender.send(b"body", 5.0).answer is ExportResult.RETRYABLE
    assert sender._tls._next_probe == 0.0


def test_unreadable_certificate_files_are_retryable(certificates: Certificates) -> None:
    """Without readable files there is no TLS: requests stay retryable, as with ``https``."""
    with Server(tls=certificates.context) as server:
        _, sender = plain(server, ca_file="/nonexistent/ca.pem")
        assert sender.send(b"body", 5.0).answer is ExportResult.RETRYABLE
        assert server.requests == []
    with pytest.raises(FileNotFoundError):
        tls.new_context(sender.endpoint)
