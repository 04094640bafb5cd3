"""OTLP over HTTP: one kept-alive connection to an endpoint, and the classification of its answers.

It uses the standard library's client, which has no locks and no pool that fork or gevent could
break and which nearly every program imports anyway.
"""

from __future__ import annotations

import http.client
import io
import os
import time
import zlib
from dataclasses import dataclass
from enum import Enum
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import guard
from otel_distro.export.send import tls
from otel_distro.export.send.endpoint import credentials

if TYPE_CHECKING:
    import socket
    from urllib.parse import SplitResult

    from otel_distro.export.send.endpoint import OtlpEndpoint

MAX_RETRY_AFTER_S = 60.0
_MAX_RESPONSE_BYTES = 64 * 1024
_OTLP_TYPES = ("application/x-protobuf", "application/json")
_PROTOCOL_ERRORS = (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest)


class ExportResult(Enum):
    """The result of a request.

    Accepted, failed but worth another attempt, or rejected for good because of its content.
    """

    SUCCESS = "success"
    RETRYABLE = "retryable"
    PERMANENT = "permanent"


@dataclass(frozen=True)
class Outcome:
    """The answer to one request.

    Attributes:
        answer: How to treat the request.
        reason: Why it failed; empty on success, and if this process has cancelled the request.
        retry_after: Seconds to wait before the next attempt, as the server asks.
        rejected: Items of an accepted request that the server rejected.
        status: The HTTP status; 413 also for a request that gRPC found too large.
    """

    answer: ExportResult
    reason: str = ""
    retry_after: float = 0.0
    rejected: int = 0
    status: int | None = None


class Transport(Protocol):
    """Sends requests to one endpoint. Used by one thread at a time, except :meth:`before_fork`."""

    endpoint: OtlpEndpoint

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Send a serialised request within about ``timeout`` seconds. Never raises."""

    def clone(self) -> Transport:
        """Return a transport with a connection of its own, for use at the same time."""

    def before_fork(self) -> None:
        """Close what would break in a child, even in the middle of another thread's request."""

    def reset_after_fork(self) -> None:
        """Forget the connection in a forked child: it is the parent's."""

    def close(self) -> None:
        """Close the connection; the next request opens another."""


class Sender:
    """Posts requests to one endpoint over HTTP."""

    def __init__(self, endpoint: OtlpEndpoint) -> None:
        self.endpoint = endpoint
        self._connection: http.client.HTTPConnection | None = None
        self._absolute_url = False
        """Whether the request line has the whole URL, as a proxy for plain HTTP expects."""
        self._proxy_headers: dict[str, str] = {}
        self._answered_http = False
        """Whether the server has ever given a meaningful answer to plain HTTP."""
        self._tls = tls.TlsProbe(endpoint)

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Post a request, gzipped if the endpoint asks for it. Never raises.

        If the server has closed an idle connection, the request is sent once more on a new one. If
        the server turns out to expect TLS, it is sent once more with TLS.

        Args:
            body: The serialised request.
            timeout: Seconds for connecting, for sending and for reading, each.
        """
        body = compress(body) if self.endpoint.gzip else body
        fresh = self._connection is None
        outcome, unclear = self._post(body, timeout)
        if unclear and ((not fresh and outcome.status is None) or self._expects_tls(timeout)):
            outcome, _ = self._post(body, timeout)
        return outcome

    def clone(self) -> Sender:
        """Return a sender with a connection of its own and the knowledge about TLS."""
        other = Sender(self.endpoint)
        other._answered_http, other._tls = self._answered_http, self._tls
        return other

    def before_fork(self) -> None:
        """Keep the connection: a child that does not use the socket does not disturb it."""

    def reset_after_fork(self) -> None:
        """Drop the connection in a forked child without sending anything: it is the parent's."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None:
            # The descriptor is closed directly: closing the connection could wait for a lock whose
            # holder exists only in the parent, and leaving it open would cause a ResourceWarning.
            os.close(connection.sock.detach())

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, timeout: float) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the server seems not to speak plain HTTP."""
        headers = dict(self.endpoint.headers)
        if self.endpoint.gzip:
            headers["content-encoding"] = "gzip"
        try:
            connection = self._connection or self._connect(timeout)
            self._connection = connection
            if self._absolute_url:
                headers.update(self._proxy_headers)
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.timeout = timeout
            connection.response_class = partial(_Response, timeout=timeout)  # type: ignore[assignment]
            connection.request("POST", self._path(), body, headers)
            response = connection.getresponse()
            payload = response.read(_MAX_RESPONSE_BYTES)
            if response.will_close or not response.isclosed():
                self.close()
            kind = (response.getheader("content-type") or "").split(";")[0].strip().lower()
            unclear = response.status == 400 and kind not in _OTLP_TYPES
            self._answered_http = self._answered_http or not unclear
            return self._classify(response, kind, payload), unclear
        except Exception as error:
            self.close()
            unclear = isinstance(error, _PROTOCOL_ERRORS) and not isinstance(error, ConnectionRefusedError)
            return Outcome(ExportResult.RETRYABLE, f"{type(error).__name__}: {error}".rstrip(": ")), unclear

    def _path(self) -> str:
        parts = urlsplit(self.endpoint.url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return f"{self.endpoint.origin}{path}" if self._absolute_url else path

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.endpoint.url)
        host, port = parts.hostname or "localhost", parts.port
        secure = parts.scheme == "https"
        if self._tls.context is not None:
            secure, port = True, port or 80
        proxy = _proxy(parts.scheme, host)
        self._absolute_url = proxy is not None and not secure
        authorization = credentials(proxy) if proxy is not None else ""
        self._proxy_headers = {"proxy-authorization": authorization} if authorization else {}
        peer, peer_port = (proxy.hostname or "", proxy.port) if proxy is not None else (host, port)
        connection: Any = (
            http.client.HTTPSConnection(
                peer, peer_port, timeout=timeout, context=self._tls.context or tls.new_context(self.endpoint)
            )
            if secure
            else http.client.HTTPConnection(peer, peer_port, timeout=timeout)
        )
        connection._create_connection = threads.connect
        if secure and proxy is not None:
            connection.set_tunnel(host, port or 443, self._proxy_headers)
        return cast("http.client.HTTPConnection", connection)

    def _expects_tls(self, timeout: float) -> bool:
        """Probe for TLS if the URL says ``http`` and the server never gave a meaningful answer."""
        parts = urlsplit(self.endpoint.url)
        if self._answered_http or parts.scheme != "http" or self._absolute_url:
            return False
        with guard("probing for TLS"):
            return self._tls.probe(parts.hostname or "localhost", parts.port or 80, timeout)
        return False

    @staticmethod
    def _classify(response: http.client.HTTPResponse, kind: str, payload: bytes) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            if payload and kind not in _OTLP_TYPES:
                return Outcome(
                    ExportResult.RETRYABLE,
                    f"HTTP {status} that is not OTLP ({kind or 'no content type'})",
                    status=status,
                )
            return Outcome(ExportResult.SUCCESS, rejected=rejected_items(payload, kind), status=status)
        reason = f"HTTP {status} {response.reason}".strip()
        if status in (400, 413, 422):
            return Outcome(ExportResult.PERMANENT, reason, status=status)
        return Outcome(ExportResult.RETRYABLE, reason, _retry_after(response.getheader("retry-after")), status=status)


class _Response(http.client.HTTPResponse):
    """A response that must arrive within ``timeout`` seconds as a whole.

    The socket's own timeout starts again with each byte.
    """

    def __init__(self, sock: socket.socket, *args: Any, timeout: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp, time.monotonic() + timeout))


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, file: io.BufferedIOBase, deadline: float) -> None:
        self._sock = sock
        # Keeps the socket open until the response has been read, and is closed with it.
        self._file = file
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def compress(body: bytes) -> bytes:
    """Return ``body`` gzipped at level 1.

    Telemetry becomes as small as at level 6, in a quarter of the time.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def _retry_after(value: str | None) -> float:
    """Return the seconds of a ``Retry-After`` header (RFC 9110 10.2.3), which may hold a date.

    At most a minute; 0 when absent or unreadable.
    """
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return 0.0 if isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def rejected_items(payload: bytes, kind: str = "") -> int:
    """Return how many items ``partial_success`` reports as rejected.

    The field numbers are the same for all signals.
    """
    if not payload:
        return 0
    try:
        if kind == "application/json":
            import json

            partial = json.loads(payload).get("partialSuccess", {})
            return sum(int(value) for key, value in partial.items() if key.startswith("rejected"))
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        return int(ExportTraceServiceResponse.FromString(payload).partial_success.rejected_spans)
    except Exception:
        # The request was accepted: an unreadable remark must not fail it.
        return 0


def _proxy(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that the environment names for ``host``.

    None for this machine: a proxy elsewhere would connect to itself.
    """
    if not any(name in os.environ for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts if parts.hostname else None
