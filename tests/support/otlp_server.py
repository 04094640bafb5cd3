"""A real HTTP server on loopback that sends exactly the bytes a test wants, valid or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_TLS_HANDSHAKE = b"\x16"

Answer = bytes | Callable[[socket.socket], None]
"""Bytes to send, or a function that gets the connection, which is closed afterwards."""


@dataclass(frozen=True)
class Request:
    """A received request. Header names are in lower case; ``connection`` counts from 1."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


def http(status: str = "200 OK", body: bytes = b"", kind: str = "application/x-protobuf", *headers: str) -> bytes:
    """Return a complete answer with ``Content-Length``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if kind:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Server:
    """Gives each request the next of ``answers``; the last one repeats.

    With ``tls`` it expects TLS, and answers plain HTTP with the bytes ``plain``, as some servers
    do, or not at all.
    """

    def __init__(
        self,
        *answers: Answer,
        tls: ssl.SSLContext | None = None,
        plain: bytes = b"",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.requests: list[Request] = []
        self.arrived = threading.Condition()
        self.closing = threading.Event()
        """Set at the end, to free the answers that hang."""
        self.connections = 0
        self.tls_hellos = 0
        """Connections on which a client began with TLS although the server expects plain HTTP."""
        self.answers = list(answers) or [http()]
        """The answers that are left."""
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
        """The URL for traces."""
        return f"{self.endpoint}/v1/traces"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
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
        """An answer that does not come before the server closes."""
        self.closing.wait(60)

    def wait_for(self, count: int, timeout: float = 20) -> None:
        """Wait until ``count`` requests have arrived."""
        self.wait_until(lambda requests: len(requests) >= count, timeout)

    def wait_until(self, condition: Callable[[list[Request]], object], timeout: float = 30) -> None:
        """Wait until ``condition`` holds for the requests that have arrived."""
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
            hello = connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE
            if self._tls and self._plain and not hello:
                connection.recv(65536)
                connection.sendall(self._plain)
                return
            if hello and not self._tls:
                self.tls_hellos += 1
                return
            with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as plain:
                self._converse(plain, number)
        except OSError:
            # The client closed the connection, or its certificate was refused.
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
