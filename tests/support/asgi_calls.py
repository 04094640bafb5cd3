"""Calls ASGI applications in process, as a server does, and reads what was recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.trace import ReadableSpan

    from otel_distro.testing import Telemetry

Message = dict[str, Any]


class Seen(NamedTuple):
    """A span of a request: ``exceptions`` are the types of its exception events."""

    name: str
    status: int | None
    error: str | None
    exceptions: list[str]


def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    kind: str = "http",
    headers: Iterable[tuple[bytes, bytes]] = ((b"host", b"made:8000"),),
    messages: Iterable[Message] | None = None,
    **scope: Any,
) -> list[Message]:
    """Send a request, or a WebSocket with one text message, and return what the application sent.

    An exception that leaves the application is the last item, as a message of type ``exception``.
    """
    sent: list[Message] = []
    if messages is None:
        messages = (
            [{"type": "http.request", "body": b"", "more_body": False}]
            if kind == "http"
            else [
                {"type": "websocket.connect"},
                {"type": "websocket.receive", "text": "hello"},
                {"type": "websocket.disconnect", "code": 1000},
            ]
        )
    waiting = list(messages)
    answered = asyncio.Event()

    async def receive() -> Message:
        if not waiting:
            # As a server does: the client is gone once it has the response.
            await answered.wait()
            return {"type": f"{kind}.disconnect"}
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    made: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.1", 50000),
        **({"method": method} if kind == "http" else {"subprotocols": []}),
        **scope,
    }

    async def run() -> None:
        try:
            await asyncio.wait_for(app(made, receive, send), 20)
        except Exception as error:
            sent.append({"type": "exception", "error": error})

    asyncio.run(run())
    return sent


def requests_of(telemetry: Telemetry) -> list[ReadableSpan]:
    """Return the SERVER spans, in the order in which they ended."""
    return [span for span in telemetry.spans() if span.kind.name == "SERVER"]


def seen(telemetry: Telemetry) -> Seen:
    """Return the only request that was recorded."""
    (span,) = requests_of(telemetry)
    found: Any = span.attributes
    exceptions = [str((event.attributes or {})["exception.type"]) for event in span.events]
    return Seen(span.name, found.get("http.response.status_code"), found.get("error.type"), exceptions)
