"""Servers that speak TLS, as the URL says, and where it says otherwise."""

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

SPEAKS = "otel-distro: {} speaks TLS: telemetry goes there encrypted{}; the endpoint should begin with https://\n"
GO = http("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n", "text/plain", "Connection: close")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_last", {})


class Certificates:
    """An authority of the test's own, a server's certificate for 127.0.0.1 and a client's."""

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


def test_own_authority_is_trusted(certificates: Certificates) -> None:
    """HTTPS to a server whose certificate comes from the authority in the file of the target."""
    with Server(tls=certificates.context) as server:
        sender = Sender(OtlpEndpoint(server.url, ca_file=str(certificates.ca)))
        assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
        sender.close()


def test_unknown_authority_is_held(certificates: Certificates) -> None:
    """A certificate of somebody else's authority gets no byte of telemetry."""
    with Server(tls=certificates.context) as server:
        outcome = Sender(OtlpEndpoint(server.url)).send(b"body", 5.0)
        assert outcome.answer is ExportResult.RETRYABLE
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
        assert server.requests == []


@pytest.mark.parametrize("shown", [True, False])
def test_client_certificate(certificates: Certificates, shown: bool) -> None:
    """A server that asks for a client's certificate gets the one of the target; without one, the body is held."""
    certificates.context.verify_mode = ssl.CERT_REQUIRED
    own = (str(certificates.certificate), str(certificates.key)) if shown else (None, None)
    with Server(tls=certificates.context) as server:
        sender = Sender(
            OtlpEndpoint(server.url, ca_file=str(certificates.ca), certificate_file=own[0], key_file=own[1])
        )
        assert sender.send(b"body", 5.0).answer is (ExportResult.SUCCESS if shown else ExportResult.RETRYABLE)
        sender.close()


def test_missing_certificate_file_is_held(certificates: Certificates) -> None:
    """A file that is not there is told and holds what waits."""
    with Server(tls=certificates.context) as server:
        outcome = Sender(OtlpEndpoint(server.url, ca_file="/nonexistent/ca.pem")).send(b"body", 5.0)
    assert outcome.answer is ExportResult.RETRYABLE
    assert outcome.reason.startswith("FileNotFoundError")


def test_https_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> None:
    """``https_proxy`` gets CONNECT and its credentials; the server behind it gets the request, encrypted to it."""

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
    """A server that speaks TLS, and has the parameter of the test, if any, for those who do not."""
    with Server(tls=certificates.context, plain=getattr(request, "param", b"")) as running:
        yield running


def plain(server: Server, **options: str) -> tuple[str, Sender]:
    """Return the endpoint of a server as somebody writes it who forgets that it speaks TLS, and a sender to it."""
    endpoint = f"http://127.0.0.1:{server.port}"
    return endpoint, Sender(OtlpEndpoint(f"{endpoint}/v1/traces", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("server", [b"", GO], ids=["silent", "says so"], indirect=True)
def test_plain_url_of_a_tls_server(
    server: Server, certificates: Certificates, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the URL says ``http`` and the server wants TLS, it gets TLS, every body once, and that is said once."""
    endpoint, sender = plain(server, ca_file=str(certificates.ca))
    for body in (b"one", b"two"):
        assert sender.send(body, 5.0).answer is ExportResult.SUCCESS
    sender.close()
    assert sender.send(b"three", 5.0).answer is ExportResult.SUCCESS
    sender.close()
    assert len(server.requests) == 3
    assert capfd.readouterr().err == SPEAKS.format(endpoint, "")


def test_plain_url_of_a_tls_server_nobody_knows(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """Its certificate cannot be checked, which ``http`` did not ask for: the bodies arrive, and it is said."""
    endpoint, sender = plain(server)
    assert sender.send(b"body", 5.0).answer is ExportResult.SUCCESS
    sender.close()
    said = capfd.readouterr().err
    assert said.startswith(SPEAKS.format(endpoint, "")[: -len("; the endpoint should begin with https://\n")])
    assert "without checking its certificate (unable to get local issuer certificate)" in said


def test_refusal_is_no_sign_of_tls(capfd: pytest.CaptureFixture[str]) -> None:
    """A server that speaks plain HTTP and refuses a body is asked once whether it meant TLS, and the body is refused."""
    with Server(http("400 Bad Request", b"no span", "text/plain")) as server:
        sender = Sender(OtlpEndpoint(server.url))
        assert [sender.send(b"body", 5.0).answer for _ in range(3)] == [ExportResult.PERMANENT] * 3
        sender.close()
        assert (len(server.requests), server.hellos) == (3, 1)
    assert capfd.readouterr().err == ""


def test_server_that_was_understood_is_not_asked() -> None:
    """Who has taken plain HTTP once speaks it; a connection that breaks later is no reason to doubt it."""
    with Server(http(), lambda connection: connection.close(), lambda connection: connection.close()) as server:
        sender = Sender(OtlpEndpoint(server.url))
        answers = [sender.send(b"body", 5.0).answer for _ in range(2)]
        sender.close()
        assert (answers, len(server.requests), server.hellos) == ([ExportResult.SUCCESS, ExportResult.RETRYABLE], 3, 0)


def test_nobody_there_is_not_asked() -> None:
    """A collector that has not come up is found as soon as it has, whatever it speaks then."""
    with Server() as gone:
        port = gone.port
    sender = Sender(OtlpEndpoint(f"http://127.0.0.1:{port}/v1/traces"))
    assert sender.send(b"body", 5.0).answer is ExportResult.RETRYABLE
    assert sender._tls._next == 0.0


def test_files_that_are_no_good(certificates: Certificates) -> None:
    """With files that cannot be read there is no TLS: what waits is held, as it is with ``https``."""
    with Server(tls=certificates.context) as server:
        _, sender = plain(server, ca_file="/nonexistent/ca.pem")
        assert sender.send(b"body", 5.0).answer is ExportResult.RETRYABLE
        assert server.requests == []
    with pytest.raises(FileNotFoundError):
        tls.new_context(sender.endpoint)
