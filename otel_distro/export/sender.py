"""One kept-alive HTTP connection to an OTLP endpoint, and what each answer means.

The standard library's client: it is the one that needs no locks and no pool, which fork and gevent would break, and it
is imported by nearly every program anyway.
"""

from __future__ import annotations

import http.client
import time
import zlib
from dataclasses import dataclass
from enum import Enum
from math import isnan
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from otel_distro.export.target import Target

MAX_RETRY_AFTER = 60.0
_MAX_RESPONSE = 64 * 1024


class Answer(Enum):
    """What became of a request: taken, worth another try later, or refused for good because of its content."""

    TAKEN = "taken"
    HOLD = "hold"
    REFUSED = "refused"


@dataclass(frozen=True)
class Outcome:
    """The answer to one request: its class, why (empty when taken), seconds to wait, items rejected of those taken."""

    answer: Answer
    reason: str = ""
    retry_after: float = 0.0
    rejected: int = 0
    status: int | None = None


class Sender:
    """Posts bodies to one target. Used by one thread at a time; after a fork the child calls :meth:`forget`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._connection: http.client.HTTPConnection | None = None

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Post ``body`` (protobuf, gzipped if the target says so) within ``timeout`` seconds an I/O operation.

        Never raises. A connection that the server closed while it was idle is opened once more.
        """
        fresh = self._connection is None
        outcome, stale = self._post(body, timeout)
        if stale and not fresh:
            outcome, _ = self._post(body, timeout)
        return outcome

    def forget(self) -> None:
        """Drop the connection without a word to the server: after a fork it is the parent's."""
        self._connection = None

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, timeout: float) -> tuple[Outcome, bool]:
        headers = dict(self.target.headers)
        if self.target.gzip:
            headers["content-encoding"] = "gzip"
        try:
            connection = self._connection or self._connect(timeout)
            self._connection = connection
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.timeout = timeout
            connection.request("POST", self._path(), body, headers)
            response = connection.getresponse()
            payload = response.read(_MAX_RESPONSE)
            if response.will_close or not response.isclosed():
                self.close()
            return self._classify(response, payload), False
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            stale = isinstance(error, ConnectionError | http.client.RemoteDisconnected | http.client.CannotSendRequest)
            return Outcome(Answer.HOLD, f"{type(error).__name__}: {error}".rstrip(": ")), stale

    def _path(self) -> str:
        parts = urlsplit(self.target.url)
        path = parts.path or "/"
        if isinstance(self._connection, http.client.HTTPSConnection) or not self._proxied:
            return f"{path}?{parts.query}" if parts.query else path
        return self.target.url

    _proxied = False

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.target.url)
        host, port = parts.hostname or "localhost", parts.port
        secure = parts.scheme == "https"
        proxy = _proxy(parts.scheme, host)
        self._proxied = proxy is not None
        tunnel_to = (host, port or (443 if secure else 80))
        if proxy is not None:
            host, port = proxy
        connection: http.client.HTTPConnection
        if secure:
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls())
            if proxy is not None:
                connection.set_tunnel(*tunnel_to)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        return connection

    def _tls(self) -> Any:
        import ssl

        context = ssl.create_default_context(cafile=self.target.ca_file)
        if self.target.certificate_file:
            context.load_cert_chain(self.target.certificate_file, self.target.key_file)
        return context

    @staticmethod
    def _classify(response: http.client.HTTPResponse, payload: bytes) -> Outcome:
        status = response.status
        kind = (response.getheader("content-type") or "").split(";")[0].strip().lower()
        if status in (200, 202):
            if payload and kind not in ("application/x-protobuf", "application/json"):
                return Outcome(
                    Answer.HOLD, f"HTTP {status} that is not OTLP ({kind or 'no content type'})", status=status
                )
            return Outcome(Answer.TAKEN, rejected=_rejected(payload, kind), status=status)
        reason = f"HTTP {status} {response.reason}".strip()
        if status in (400, 413, 422):
            return Outcome(Answer.REFUSED, reason, status=status)
        return Outcome(Answer.HOLD, reason, _retry_after(response.getheader("retry-after")), status=status)


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


def _rejected(payload: bytes, kind: str) -> int:
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


def _proxy(scheme: str, host: str) -> tuple[str, int | None] | None:
    import os

    if not any(name in os.environ for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return (parts.hostname, parts.port) if parts.hostname else None
