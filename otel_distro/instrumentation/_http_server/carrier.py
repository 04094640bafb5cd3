"""Where the applications of one request find it: in the carrier that they share, or in the context.

The carrier is WSGI's environment or ASGI's scope. The outermost application stores the request in
it, and nested ones add only what they know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context, attach, get_current

from otel_distro._otel.request_context import REQUEST_KEY
from otel_distro._otel.sdk import SPAN_KEY
from otel_distro.instrumentation._http_server.request import NO_CONTEXT, ServerRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token

CARRIER_KEY: Final = "otel_distro.request"
_ANSWERS: Final = "_otel_distro_answers"


class _Excluded:
    """Marks the carrier of a request that is not recorded, so that no inner application does."""

    __slots__ = ()

    def __deepcopy__(self, _: Any) -> _Excluded:
        return self

    def __reduce__(self) -> tuple[type[bool], tuple[()]]:
        return bool, ()


EXCLUDED: Final = _Excluded()


def request_of(carrier: Mapping[str, Any]) -> ServerRequest | None:
    """Return the request that is being answered, None if it is not recorded."""
    found = carrier.get(CARRIER_KEY)
    return found if type(found) is ServerRequest else None


def current() -> ServerRequest | None:
    """Return the request of the current context."""
    found = get_current().get(REQUEST_KEY)
    return found if type(found) is ServerRequest else None


def nested(path: str, method: str) -> ServerRequest | None:
    """Return the request of the current context if it is the same one as this.

    For an application that an adapter runs inside one of another interface, such as WSGI in ASGI:
    the adapter makes a new carrier.
    """
    request = current()
    return request if request is not None and not request.is_over and request.asks_for(path, method) else None


def surroundings() -> Context:
    """Return the current context, unless it is left over from an earlier request.

    A server may start the next request of a connection while it completes the one before.
    """
    earlier = current()
    return NO_CONTEXT if earlier is not None and earlier.is_over else get_current()


def exclude(carrier: dict[str, Any], request: ServerRequest) -> Token[Context]:
    """Record neither the request nor applications inside of it.

    Returns:
        The token with which :func:`opentelemetry.context.detach` ends the context without it.
    """
    carrier[CARRIER_KEY] = EXCLUDED
    request.exclude()
    context = Context(get_current())
    for key in (SPAN_KEY, REQUEST_KEY):
        dict.pop(context, key, None)
    return attach(context)


def mark_as_recorded(function: Callable[..., Any]) -> None:
    """Mark the call of an application as one that makes requests."""
    vars(function)[_ANSWERS] = True


def is_recorded(application: Any) -> bool:
    """Return whether an application makes requests: its class was patched, or it is wrapped."""
    of_class = getattr(type(application), "__call__", None)  # noqa: B004 - its attributes, not whether it is there
    return hasattr(of_class, _ANSWERS) or hasattr(application, _ANSWERS)
