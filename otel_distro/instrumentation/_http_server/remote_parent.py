"""The parent of a request: the trace of its client, if that client is trusted."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import Link, get_current_span

from otel_distro._runtime.diagnostics import report_failure
from otel_distro.instrumentation._http_server import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Headers(Protocol):
    """Looks up headers of one request."""

    def has_any(self, names: Iterable[str]) -> bool:
        """Return whether the request has one of these headers (lower case)."""

    def get(self, carrier: Any, key: str) -> list[str] | None:
        """Return the values of a header, as a getter of OpenTelemetry does."""

    def keys(self, carrier: Any) -> list[str]:
        """Return the names of all headers, as a getter of OpenTelemetry does."""


class _Propagator:
    """The global propagator, and the headers that it reads."""

    __slots__ = ("fields", "propagator")

    def __init__(self, propagator: Any) -> None:
        self.propagator = propagator
        self.fields = tuple(name.lower() for name in propagator.fields)


_known: _Propagator | None = None


def parent_of(headers: Headers, client: str, around: Context) -> tuple[Context, Sequence[Link]]:
    """Return the context of a request with what its client sent, and links to add.

    The span of a client that is not trusted (``OTEL_DISTRO_TRUST``) becomes a link; its baggage is
    dropped. Never raises: headers that a propagator fails at are ignored.

    Args:
        headers: Headers of the request.
        client: Address of the client; empty for a Unix socket.
        around: The context without what the client sent.
    """
    global _known
    try:
        propagator = propagate.get_global_textmap()
        known = _known
        if known is None or known.propagator is not propagator:
            known = _known = _Propagator(propagator)
        if not headers.has_any(known.fields):
            return around, ()
        getter: Any = headers
        if _trusts(client):
            return propagator.extract(headers, around, getter), ()
        found = propagator.extract(headers, Context(), getter)
        span = get_current_span(found).get_span_context()
        return around, (Link(span),) if span.is_valid else ()
    except Exception as error:
        report_failure("the trace headers of a request", error)
        return around, ()


def _trusts(client: str) -> bool:
    trust = options.common().trust
    return _is_private(client) if trust == "private" else trust == "all"


@lru_cache(maxsize=1024)
def _is_private(client: str) -> bool:
    """Return whether an address is of this machine or of a private network."""
    if not client or client.startswith("unix:"):
        return True
    try:
        address: Any = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return bool(address.is_private or address.is_loopback or address.is_link_local)
