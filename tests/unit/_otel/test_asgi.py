"""A request of ASGI is one span, and hooks of the application for its messages are called as ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_distro._otel import asgi as asgi_patches
from tests.support.pristine import copy_of

if TYPE_CHECKING:
    from types import ModuleType

    from otel_distro.testing import Telemetry

SCOPE = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": [], "server": ("x", 80)}


PRISTINE, LIGHTENED = copy_of("opentelemetry.instrumentation.asgi"), copy_of("opentelemetry.instrumentation.asgi")
asgi_patches.patch_asgi(LIGHTENED)


@pytest.fixture
def asgi() -> ModuleType:
    """A copy of upstream's module, as a program of ours has it."""
    module: ModuleType = copy_of("opentelemetry.instrumentation.asgi")
    asgi_patches.patch_asgi(module)
    return module


NAMES = ["host", "traceparent", "x-forwarded-for", "X-Mixed", "x-mixed", "x"]
BYTES = st.one_of(st.binary(max_size=8), st.text(max_size=8).map(str.encode))
PAIRS = st.tuples(st.one_of(st.sampled_from(NAMES).map(str.encode), BYTES), BYTES)


@given(st.lists(PAIRS, max_size=6), st.sampled_from(NAMES))
def test_headers_are_found_as_upstream_does_it(headers: list[tuple[bytes, bytes]], name: str) -> None:
    """In any case of letters, several of a name, in whatever bytes; pairs may be tuples or lists, and there may be none."""
    for carrier in ({"headers": headers}, {"headers": [list(pair) for pair in headers]}, {"headers": None}, {}):
        found = LIGHTENED.ASGIGetter().get(carrier, name)
        if not any(b"\\" in part for pair in headers for part in pair):
            assert found == PRISTINE.ASGIGetter().get(carrier, name)
        assert (found or []) == [
            text_of(value) for key, value in carrier.get("headers") or () if key.lower() == name.lower().encode()
        ]


def text_of(value: bytes) -> str:
    """Return the text of a header, which is Latin-1 where it is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def test_bytes_that_upstream_cannot_read(asgi: ModuleType, telemetry: Telemetry) -> None:
    """A client's header with a broken escape of Python's costs neither the answer nor the span."""
    middleware = asgi.OpenTelemetryMiddleware(application)
    scope = {**SCOPE, "headers": [(b"host", b"\\x\xff"), (b"user-agent", b"\xe9\\u"), (b"traceparent", b"\\\x80")]}
    asyncio.run(middleware(scope, receive, send))
    (span,) = [span for span in telemetry.spans() if span.kind is SpanKind.SERVER]
    assert (span.attributes or {})["http.user_agent"] == "é\\u"


async def application(_: Any, receive: Any, send: Any) -> None:
    """Answer a request."""
    await receive()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def receive() -> dict[str, Any]:
    """Return the body of a request."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_: Any) -> None:
    """Take what is sent."""


def started(asgi: ModuleType, telemetry: Telemetry, **arguments: Any) -> list[str]:
    """Return the kinds of spans that a request starts, and see that it has one of its own with its status."""
    kinds: list[str] = []
    tracer = trace.get_tracer("app")
    start = tracer.start_span

    class Noting(type(tracer)):  # type: ignore[misc]
        def start_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
            span: Any = start(name, *args, **kwargs)
            kinds.append(span.kind.name)
            return span

    noting: Any = object.__new__(Noting)
    noting.__dict__.update(tracer.__dict__)
    asyncio.run(asgi.OpenTelemetryMiddleware(application, tracer=noting, **arguments)(dict(SCOPE), receive, send))
    (span,) = [span for span in telemetry.spans() if span.kind is SpanKind.SERVER]
    # Its old name: the new ones are asked for in instrumented processes only.
    assert (span.attributes or {})["http.status_code"] == 204
    return kinds


def test_a_request_is_one_span(asgi: ModuleType, telemetry: Telemetry) -> None:
    """Nothing is started only to be thrown away."""
    assert started(asgi, telemetry) == ["SERVER"]


@pytest.mark.parametrize(("hook", "messages"), [("client_request_hook", 1), ("client_response_hook", 2)])
def test_hooks_are_called(asgi: ModuleType, telemetry: Telemetry, hook: str, messages: int) -> None:
    """A hook for what is received, or sent, gets its spans; those of the other direction are not made."""
    seen: list[str] = []
    kinds = started(asgi, telemetry, **{hook: lambda _, __, message: seen.append(message["type"])})
    assert len(seen) == messages
    assert kinds == ["SERVER", *["INTERNAL"] * messages]


def test_what_the_application_leaves_out(asgi: ModuleType, telemetry: Telemetry) -> None:
    """What it says itself holds: it may leave out spans although it has hooks for them."""
    hooks = {"client_request_hook": print, "client_response_hook": print}
    assert started(asgi, telemetry, exclude_spans=["receive", "send"], **hooks) == ["SERVER"]
