"""The server request that the current code answers, as a value of OpenTelemetry's context.

An instrumentation of requests stores its object under :data:`REQUEST_KEY` in the context that it
attaches around the application::

    context = opentelemetry.context.set_value(REQUEST_KEY, request, context)

Lower layers, such as the audit events, read it without importing the instrumentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from opentelemetry.context import create_key, get_value

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

REQUEST_KEY: Final = create_key("otel_distro.request")


class Request(Protocol):
    """A request being answered. Its values may change until the response is closed."""

    @property
    def client_address(self) -> str:
        """Address of the client without its port; empty if unknown."""

    @property
    def route(self) -> str:
        """Template of the route; empty while it is unknown."""

    @property
    def span(self) -> Span:
        """The SERVER span of the request."""


def current_request(context: Context | None = None) -> Request | None:
    """Return the request of ``context``, None where it has none.

    Args:
        context: The context to look in; None for the current one.
    """
    return cast("Request | None", get_value(REQUEST_KEY, context))
