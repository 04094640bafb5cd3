"""The client of the contract: sends numbered requests and keeps what it got."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.contract.servers import Pair


@dataclass
class Call:
    """A request and what the client got.

    ``user_agent`` has its number, by which its span is found. ``status`` is None where the client
    got none, ``complete`` is whether the response ended as it should.
    """

    number: int
    method: str
    path: str
    websocket: bool = False
    counted: bool = True
    status: int | None = None
    body: str = ""
    complete: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def user_agent(self) -> str:
        """The header ``User-Agent`` of the request."""
        return f"contract/{self.number}"


class Client:
    """Sends requests to the application of ``pair`` on ``port``, over open connections."""

    def __init__(self, pair: Pair, port: int) -> None:
        self.pair = pair
        self.port = port
        self.calls: list[Call] = []
        self._http = self._connect()

    def _options(self, timeout: float = 20) -> dict[str, Any]:
        return {
            "base_url": f"http://127.0.0.1:{self.port}",
            "http1": not self.pair.server.http2,
            "http2": self.pair.server.http2,
            "trust_env": False,
            "timeout": timeout,
        }

    def _connect(self, timeout: float = 20) -> httpx.Client:
        return httpx.Client(**self._options(timeout))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> Call:
        call = Call(len(self.calls), method, path, **options)
        self.calls.append(call)
        return call

    def send(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        counted: bool = True,
    ) -> Call:
        """Send a request and read the response, to its end or to its failure.

        Args:
            method: The method.
            path: The path.
            query: The query.
            headers: Headers beside ``User-Agent``.
            body: The body.
            counted: Whether a span and a measurement of it are right.
        """
        call = self._call(method, path, counted=counted)
        sent = {"User-Agent": call.user_agent, **(headers or {})}
        if not self.pair.server.keep_alive:
            sent["Connection"] = "close"
        with suppress(httpx.HTTPError):
            with self._http.stream(method, f"{path}?{query}" if query else path, headers=sent, content=body) as answer:
                call.status, call.headers = answer.status_code, answer.headers
                for chunk in answer.iter_bytes():
                    # Some error pages have the URL.
                    call.body += chunk.decode().replace(f":{self.port}/", ":PORT/")
            call.complete = True
        if not call.complete or (call.status or 500) >= 500:
            # Servers close the connection after a failure, some of them a moment after the response.
            self._http.close()
            self._http = self._connect()
        return call

    def get(self, path: str, **options: Any) -> Call:
        """Send a GET, see :meth:`send`."""
        return self.send("GET", path, **options)

    def at_once(self, paths: Iterable[str]) -> list[Call]:
        """Send GETs at the same time; over HTTP/2 they share a connection."""
        calls = [self._call("GET", path) for path in paths]

        async def send(client: httpx.AsyncClient, call: Call) -> None:
            answer = await client.get(call.path, headers={"User-Agent": call.user_agent})
            call.status, call.headers, call.body, call.complete = answer.status_code, answer.headers, answer.text, True

        async def send_all() -> None:
            async with httpx.AsyncClient(**self._options()) as client:
                await asyncio.gather(*(send(client, call) for call in calls))

        asyncio.run(send_all())
        return calls

    def pipeline(self, path: str) -> list[Call]:
        """Send two GETs of one path in one packet, without waiting for a response between.

        A server that answers only the first has not read the second, which is not counted then.
        """
        calls = [self._call("GET", path) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            for call, ending in zip(calls, ("keep-alive", "close"), strict=True):
                call.body = (
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                    f"User-Agent: {call.user_agent}\r\nConnection: {ending}\r\n\r\n"
                )
            connection.sendall("".join(call.body for call in calls).encode())
            answer = b""
            with suppress(OSError):
                while chunk := connection.recv(65536):
                    answer += chunk
        answered = answer.count(b"HTTP/1.")
        for index, call in enumerate(calls):
            call.body, call.complete = "", index < answered
            call.counted, call.status = call.complete, 200 if call.complete else None
        return calls

    def leave_stream(self, path: str) -> Call:
        """Close the connection after the first chunk of the response."""
        call = self._call("GET", path)
        client = self._connect()
        with client.stream("GET", path, headers={"User-Agent": call.user_agent}) as answer:
            call.status = answer.status_code
            next(answer.iter_raw(1))
            client.close()
        return call

    def leave_before_answer(self, path: str) -> Call:
        """Close the connection while the application works."""
        call = self._call("GET", path)
        with self._connect(timeout=0.15) as client, suppress(httpx.TimeoutException):
            client.get(path, headers={"User-Agent": call.user_agent})
        return call

    def converse(self, path: str, *messages: str, gone: bool = False) -> Call:
        """Open a websocket, send messages and read their echoes, then close it.

        Args:
            path: The path.
            messages: What to send.
            gone: Reset the connection in place of closing the websocket.
        """
        call = self._call("GET", path, websocket=True)
        url = f"ws://127.0.0.1:{self.port}{path}"
        try:
            with connect(url, user_agent_header=call.user_agent, proxy=None, compression=None) as websocket:
                call.status = 101
                for message in messages:
                    websocket.send(message)
                    call.body += str(websocket.recv(10))
                if gone:
                    websocket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    websocket.socket.close()
            call.complete = True
        except InvalidStatus as refused:
            call.status = refused.response.status_code
        except (ConnectionClosed, OSError):
            pass
        return call
