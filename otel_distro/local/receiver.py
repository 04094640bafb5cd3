"""Receives OTLP/HTTP on a loopback port and puts it into a store."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_distro._version import __version__
from otel_distro.local.body import JSON, PROTOBUF, RefusedError, checked, read, skip
from otel_distro.local.loopback import LOOPBACK, listen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from google.protobuf.message import Message
    from typing_extensions import Self

    from otel_distro.local.store import Store

MAX_CONNECTIONS: Final = 64
_IDLE_TIMEOUT_S: Final = 30
_RETRY_AFTER_S: Final = 1
_SIGNALS: Final = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}

_Response = ExportTraceServiceResponse | ExportLogsServiceResponse | ExportMetricsServiceResponse
_RESPONSES: Final[Mapping[str, type[_Response]]] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}


class Receiver:
    """Serves OTLP/HTTP (protobuf and JSON, gzip and deflate) and ``GET /healthz`` until stopped.

    A response of 200 means that the request is queued in the store. ``listener`` is a listening
    loopback socket to take over, by default a new one on a free port.
    """

    def __init__(self, store: Store, listener: socket.socket | None = None) -> None:
        self._server = _Server(store, listener or listen())
        self._thread = threading.Thread(target=self._server.serve, name="otel-distro-receiver", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def endpoint(self) -> str:
        """The value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Start to serve; return the receiver."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop to serve and close every connection. The store stays open."""
        self._server.stop()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Like ``http.server.ThreadingHTTPServer``, with a connection limit and an immediate stop."""

    daemon_threads = True

    def __init__(self, store: Store, listener: socket.socket) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.port: int = listener.getsockname()[1]
        self.hosts = {f"{name}:{self.port}" for name in (LOOPBACK, "localhost", "[::1]")}
        self.store = store
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def crowded(self) -> bool:
        """Whether there are too many connections to keep one open for its next request."""
        return len(self._open) > MAX_CONNECTIONS // 2

    def serve(self) -> None:
        """Accept connections until stopped; connections beyond the limit wait in the backlog."""
        while True:
            self._room.acquire()
            connection, address = self.socket.accept()
            with self._lock:
                self._open.add(connection)
            if self._stopped:
                self.shutdown_request(connection)
                return
            self.process_request(connection, address)

    def stop(self) -> None:
        """End :meth:`serve` and every connection."""
        self._stopped = True
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            # Wakes the loop, which blocks in accept.
            socket.create_connection((LOOPBACK, self.port)).close()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and release its slot."""
        super().shutdown_request(request)
        with self._lock:
            self._open.discard(request)
        self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Count a broken connection, without writing to the terminal."""
        self.store.drop("http", "connection broken", sample=repr(sys.exc_info()[1]))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "otel-distro"
    sys_version = ""
    timeout = _IDLE_TIMEOUT_S
    # One packet per response: a second one would wait for the client's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if not self._host_allowed():
            self._answer(421, b"host not allowed", "text/plain")
        elif self.path != "/healthz":
            self._answer(404, b"not found", "text/plain")
        else:
            health = {"product": "otel-distro", "version": __version__, "run": self.server.store.run_id}
            self._answer(200, json.dumps(health).encode(), JSON)

    def do_POST(self) -> None:
        signal = _SIGNALS.get(self.path, "")
        content_type = self.headers.get_content_type()
        try:
            self._take(signal, content_type)
        except RefusedError as refused:
            self.server.store.drop(signal or "http", refused.reason, sample=str(refused))
            self.close_connection = True
            self._answer(refused.status, *_refusal(str(refused), content_type))
        else:
            self._answer(200, *self._success(signal, content_type))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal belongs to the program that runs."""

    def _take(self, signal: str, content_type: str) -> None:
        objection = self._objection(signal, content_type)
        if objection:
            # A response followed by a close with unread data would be lost in transit.
            skip(self.rfile, self.headers)
            raise objection
        body = checked(signal, content_type, read(self.rfile, self.headers))
        if not self.server.store.put(signal, body):
            raise RefusedError(503, "queue full")

    def _objection(self, signal: str, content_type: str) -> RefusedError | None:
        """Return why a request is refused unread.

        Web pages cannot send requests with its host and content types.
        """
        if not self._host_allowed():
            return RefusedError(421, "host not allowed")
        if not signal:
            return RefusedError(404, "path not found", self.path[:100])
        if content_type not in (PROTOBUF, JSON):
            return RefusedError(415, "content type not supported", content_type)
        return None

    def _host_allowed(self) -> bool:
        """Return whether the host is this server; refuses DNS rebinding by a web page."""
        return self.headers.get("Host", "").lower() in self.server.hosts

    def _success(self, signal: str, content_type: str) -> tuple[bytes, str]:
        response = _RESPONSES[signal]()
        if self.server.store.full:
            response.partial_success.error_message = "the store is full: data are being dropped"
        return _encode(response, content_type)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        if self.server.crowded:
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if status == 503:
            self.send_header("Retry-After", str(_RETRY_AFTER_S))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _refusal(text: str, content_type: str) -> tuple[bytes, str]:
    """Return body and type of an error response: OTLP requires a ``google.rpc.Status``."""
    if content_type in (PROTOBUF, JSON):
        return _encode(Status(message=text), content_type)
    return text.encode("utf-8", "replace"), "text/plain; charset=utf-8"


def _encode(message: Message, content_type: str) -> tuple[bytes, str]:
    if content_type == JSON:
        return json_format.MessageToJson(message, indent=None).encode(), JSON
    return message.SerializeToString(), PROTOBUF
