"""A request of ASGI is one span, and the application's hooks for its messages are called."""

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
    """A patched copy of upstream's module."""
    module: ModuleType = copy_of("opentelemetry.instrumentation.asgi")
    asgi_patches.patch_asgi(module)
    return module


NAMES = ["host", "traceparent", "x-forwarded-for", "X-Mixed", "x-mixed", "x"]
BYTES = st.one_of(st.binary(max_size=8), st.text(max_size=8).map(str.encode))
PAIRS = st.tuples(st.one_of(st.sampled_from(NAMES).map(str.encode), BYTES), BYTES)


@given(st.lists(PAIRS, max_size=6), st.sampled_from(NAMES))
def test_header_lookup_in_bytes_equals_upstream(headers: list[tuple[bytes, bytes]], name: str) -> None:
    """Any case of letters, several of a name, any bytes; pairs as tuples or lists, or none."""
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


def test_header_with_broken_escape_is_read_as_latin_1(asgi: ModuleType, telemetry: Telemetry) -> None:
    """A header with a broken Python escape loses neither the answer nor the span."""
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
    """Return the kinds of spans that a request starts; one has the status of the request."""
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


def test_request_without_hooks_is_one_span(asgi: ModuleType, telemetry: Telemetry) -> None:
    """No span is started for a message without a hook."""
    assert started(asgi, telemetry) == ["SERVER"]


@pytest.mark.parametrize(("hook", "messages"), [("client_request_hook", 1), ("client_response_hook", 2)])
def test_request_with_hook_has_spans_of_that_direction(
    asgi: ModuleType, telemetry: Telemetry, hook: str, messages: int
) -> None:
    """A hook for one direction gets its spans; those of the other direction are not made."""
    seen: list[str] = []
    kinds = started(asgi, telemetry, **{hook: lambda _, __, message: seen.append(message["type"])})
    assert len(seen) == messages
    assert kinds == ["SERVER", *["INTERNAL"] * messages]


def test_exclude_spans_of_application_applies_despite_hooks(asgi: ModuleType, telemetry: Telemetry) -> None:
    """Its own ``exclude_spans`` applies, although it has hooks for these spans."""
    hooks = {"client_request_hook": print, "client_response_hook": print}
    assert started(asgi, telemetry, exclude_spans=["receive", "send"], **hooks) == ["SERVER"]
