"""The request in OpenTelemetry's context."""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.trace import INVALID_SPAN, Span

from otel_distro._otel.request_context import REQUEST_KEY, current_request


class Request(NamedTuple):
    """As an instrumentation of requests stores it."""

    client_address: str
    route: str
    span: Span


REQUEST = Request("192.0.2.7", "/items/{id}", INVALID_SPAN)


def test_request_outside_of_a_request_is_none() -> None:
    """Neither the current context nor an empty one has a request."""
    assert current_request() is None
    assert current_request(Context()) is None


def test_request_stored_in_the_context_is_found() -> None:
    """In the context given, and in the current one while it is attached."""
    context = set_value(REQUEST_KEY, REQUEST, Context())
    assert current_request(context) is REQUEST
    token = attach(context)
    try:
        assert current_request() is REQUEST
    finally:
        detach(token)
    assert current_request() is None
