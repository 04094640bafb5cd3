"""One kept-alive HTTP connection to an OTLP endpoint, and what each answer means.

The standard library's client: it is the one that needs no locks and no pool, which fork and gevent would break, and it
is imported by nearly every program anyway.
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

MAX_RETRY_AFTER = 60.0
_MAX_RESPONSE = 64 * 1024
_OTLP = ("application/x-protobuf", "application/json")
_PUZZLING = (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest)


class ExportResult(Enum):
    """What became of a request: taken, worth another try later, or refused for good because of its content."""

    SUCCESS = "taken"
    RETRYABLE = "hold"
    PERMANENT = "refused"


@dataclass(frozen=True)
class Outcome:
    """The answer to one request: its class, why, seconds to wait, items rejected of those taken.

    ``reason`` is empty for what was taken, and for what is held because of ourselves.
    ``status`` is that of HTTP; a request that gRPC found too large has 413 too.
    """

    answer: ExportResult
    reason: str = ""
    retry_after: float = 0.0
    rejected: int = 0
    status: int | None = None


class Transport(Protocol):
    """What takes requests to one target. Used by one thread at a time, but for :meth:`before_fork`."""

    endpoint: OtlpEndpoint

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Send a serialised request, which takes about ``timeout`` seconds at most. Never raises."""

    def clone(self) -> Transport:
        """Return one with a connection of its own, to be used at the same time."""

    def before_fork(self) -> None:
        """Give up what a child could not live with, also in the middle of a request of another thread."""

    def reset_after_fork(self) -> None:
        """Let go of the connection in a forked child: it is the parent's."""

    def close(self) -> None:
        """Close the connection; the next request opens another."""


class Sender:
    """Posts bodies to one target over HTTP."""

    def __init__(self, endpoint: OtlpEndpoint) -> None:
        self.endpoint = endpoint
        self._connection: http.client.HTTPConnection | None = None
        self._whole_url = False
        self._proxy_headers: dict[str, str] = {}
        self._understood = False
        self._tls = tls.TlsProbe(endpoint)

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Post ``body``, gzipped if the target says so; to connect, to send and to read take ``timeout`` each.

        Never raises. A connection that the server closed while it was idle is opened once more, and one to a server that
        turns out to speak TLS with TLS.
        """
        body = compress(body) if self.endpoint.gzip else body
        fresh = self._connection is None
        outcome, puzzling = self._post(body, timeout)
        if puzzling and ((not fresh and outcome.status is None) or self._wants_tls(timeout)):
            outcome, _ = self._post(body, timeout)
        return outcome

    def clone(self) -> Sender:
        """Return one with a connection of its own, which knows of the server what is known here."""
        other = Sender(self.endpoint)
        other._understood, other._tls = self._understood, self._tls
        return other

    def before_fork(self) -> None:
        """Keep the connection: a socket is nothing to a child that does not use it."""

    def reset_after_fork(self) -> None:
        """Drop the connection without a word to the server: after a fork it is the parent's."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None:
            # Not closed, which could wait for a lock of a thread that only the parent has, and not left to be warned of.
            os.close(connection.sock.detach())

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, timeout: float) -> tuple[Outcome, bool]:
        """Return what became of it, and whether that is no answer of somebody who has understood the question."""
        headers = dict(self.endpoint.headers)
        if self.endpoint.gzip:
            headers["content-encoding"] = "gzip"
        try:
            connection = self._connection or self._connect(timeout)
            self._connection = connection
            if self._whole_url:
                headers.update(self._proxy_headers)
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.timeout = timeout
            connection.response_class = partial(_Response, timeout=timeout)  # type: ignore[assignment]
            connection.request("POST", self._path(), body, headers)
            response = connection.getresponse()
            payload = response.read(_MAX_RESPONSE)
            if response.will_close or not response.isclosed():
                self.close()
            kind = (response.getheader("content-type") or "").split(";")[0].strip().lower()
            puzzling = response.status == 400 and kind not in _OTLP
            self._understood = self._understood or not puzzling
            return self._classify(response, kind, payload), puzzling
        except Exception as error:
            self.close()
            puzzling = isinstance(error, _PUZZLING) and not isinstance(error, ConnectionRefusedError)
            return Outcome(ExportResult.RETRYABLE, f"{type(error).__name__}: {error}".rstrip(": ")), puzzling

    def _path(self) -> str:
        parts = urlsplit(self.endpoint.url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return f"{self.endpoint.origin}{path}" if self._whole_url else path

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.endpoint.url)
        host, port = parts.hostname or "localhost", parts.port
        secure = parts.scheme == "https"
        if self._tls.context is not None:
            secure, port = True, port or 80
        proxy = _proxy(parts.scheme, host)
        self._whole_url = proxy is not None and not secure
        authorization = credentials(proxy) if proxy is not None else ""
        self._proxy_headers = {"proxy-authorization": authorization} if authorization else {}
        ask, at = (proxy.hostname or "", proxy.port) if proxy is not None else (host, port)
        connection: Any = (
            http.client.HTTPSConnection(
                ask, at, timeout=timeout, context=self._tls.context or tls.new_context(self.endpoint)
            )
            if secure
            else http.client.HTTPConnection(ask, at, timeout=timeout)
        )
        connection._create_connection = threads.connect
        if secure and proxy is not None:
            connection.set_tunnel(host, port or 443, self._proxy_headers)
        return cast("http.client.HTTPConnection", connection)

    def _wants_tls(self, timeout: float) -> bool:
        """Find out whether the server wants TLS, where the URL says otherwise and no answer was ever understood."""
        parts = urlsplit(self.endpoint.url)
        if self._understood or parts.scheme != "http" or self._whole_url:
            return False
        with guard("looking for TLS"):
            return self._tls.probe(parts.hostname or "localhost", parts.port or 80, timeout)
        return False

    @staticmethod
    def _classify(response: http.client.HTTPResponse, kind: str, payload: bytes) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            if payload and kind not in _OTLP:
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
    """A response that has ``timeout`` seconds to arrive as a whole: a socket's own limit starts again with each byte."""

    def __init__(self, sock: socket.socket, *args: Any, timeout: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Timed(sock, self.fp, time.monotonic() + timeout))


class _Timed(io.RawIOBase):
    def __init__(self, sock: socket.socket, file: io.BufferedIOBase, deadline: float) -> None:
        self._sock = sock
        # It keeps the socket open until the response has been read, and is closed with it.
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
    """Gzip at level 1: a quarter of the time of level 6 for the same size on telemetry."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def _retry_after(value: str | None) -> float:
    """Read ``Retry-After`` (RFC 9110 10.2.3): seconds or a date; at most a minute, 0 when absent or unreadable."""
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
    return 0.0 if isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def rejected_items(payload: bytes, kind: str = "") -> int:
    """Return how many items ``partial_success`` says were rejected; field numbers are the same for all signals."""
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
        # The items are taken; an unreadable remark about them is not worth losing the connection over.
        return 0


def _proxy(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that the environment names for ``host``; none for this machine, which it would take for its own."""
    if not any(name in os.environ for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts if parts.hostname else None
