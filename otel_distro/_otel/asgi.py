"""The part of :mod:`otel_distro._otel.sdk` that is about ASGI: what its instrumentation does for every request."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


def lighten(asgi: ModuleType) -> None:
    """Let the instrumentation of ASGI, the module, do for each request only what is needed for its span and its numbers."""
    _leave_messages_out(asgi)
    _find_headers_undecoded(asgi)


def _leave_messages_out(asgi: ModuleType) -> None:
    """Let a request be one span, not one more for each of its messages, unless the application has hooks for these."""
    set_up = asgi.OpenTelemetryMiddleware.__init__

    @functools.wraps(set_up)
    def without_messages(self: Any, *args: Any, **kwargs: Any) -> None:
        set_up(self, *args, **kwargs)
        self.exclude_receive_span = self.exclude_receive_span or self.client_request_hook is None
        self.exclude_send_span = self.exclude_send_span or self.client_response_hook is None

    asgi.OpenTelemetryMiddleware.__init__ = without_messages


def _find_headers_undecoded(asgi: Any) -> None:
    """Look for a header among the bytes: eight are looked for in each request, and all of them were decoded each time.

    Values that are not UTF-8 are Latin-1, as ASGI has it. Upstream takes them for Python's escapes, and a client that sends
    a broken one gets an error instead of the application's answer.
    """
    encoded = functools.lru_cache(maxsize=256)(lambda key: key.lower().encode())

    def decode(value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    @functools.wraps(asgi.ASGIGetter.get)
    def get(_: Any, carrier: Any, key: str) -> list[str] | None:
        headers = carrier.get("headers")
        if not headers:
            return None
        wanted = encoded(key)
        return [decode(value) for name, value in headers if name.lower() == wanted] or None

    asgi._decode_header_item = decode
    asgi.ASGIGetter.get = get
