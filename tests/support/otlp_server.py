"""A real HTTP server on loopback that answers byte for byte what a test wants, also what no decent server would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_HANDSHAKE = b"\x16"

ExportResult = bytes | Callable[[socket.socket], None]
"""Bytes to send, after which the connection is kept, or a function that does with it what it likes and ends it."""


@dataclass(frozen=True)
class Request:
    """A request as it came; names of headers in lower case. ``connection`` counts connections from 1."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


def http(status: str = "200 OK", body: bytes = b"", kind: str = "application/x-protobuf", *headers: str) -> bytes:
    """Return a whole answer with ``Content-Length``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if kind:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Server:
    """Gives one of ``answers`` to each request, in turn; the last one again and again.

    With ``tls`` it speaks that. To clients that do not it gives ``plain``, as some servers do, or no answer.
    """

    def __init__(
        self,
        *answers: ExportResult,
        tls: ssl.SSLContext | None = None,
        plain: bytes = b"",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.requests: list[Request] = []
        self.arrived = threading.Condition()
        self.let_go = threading.Event()
        """Set at the end: what an answer waits for that hangs."""
        self.connections = 0
        self.hellos = 0
        """Those among the connections whose client began with TLS and the server does not speak it."""
        self.answers = list(answers) or [http()]
        """What is left to give."""
        self._tls = tls
        self._plain = plain
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64
        )
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def endpoint(self) -> str:
        """The value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where traces go."""
        return f"{self.endpoint}/v1/traces"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(10)

    def hang(self, _: socket.socket) -> None:
        """Give no answer before the end."""
        self.let_go.wait(60)

    def wait_for(self, count: int, timeout: float = 20) -> None:
        """Wait until so many requests have come."""
        self.wait_until(lambda requests: len(requests) >= count, timeout)

    def wait_until(self, condition: Callable[[list[Request]], object], timeout: float = 30) -> None:
        """Wait until ``condition`` holds for the requests that have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: condition(self.requests), timeout), self.requests

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            hello = connection.recv(1, socket.MSG_PEEK) == _HANDSHAKE
            if self._tls and self._plain and not hello:
                connection.recv(65536)
                connection.sendall(self._plain)
                return
            if hello and not self._tls:
                self.hellos += 1
                return
            with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as plain:
                self._converse(plain, number)
        except OSError:
            # The client went away, or its certificate was refused.
            return
        finally:
            connection.close()

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as stream:
            while line := stream.readline():
                method, target, _ = line.decode("latin-1").split(" ", 2)
                headers: dict[str, str] = {}
                while header := stream.readline().decode("latin-1").strip():
                    key, _, value = header.partition(":")
                    headers[key.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                with self.arrived:
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    self.requests.append(Request(method, target, headers, body, number))
                    self.arrived.notify_all()
                if not isinstance(answer, bytes):
                    answer(connection)
                    return
                connection.sendall(answer)
