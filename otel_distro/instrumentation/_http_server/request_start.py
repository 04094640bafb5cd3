"""The start of a request: its attributes from what a server passes on, its parent, its span."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from otel_distro import schema
from otel_distro._runtime.diagnostics import text_of
from otel_distro.instrumentation._access.audit_events import client_of_proxy
from otel_distro.instrumentation._http_server import options, remote_parent
from otel_distro.instrumentation._http_server.carrier import surroundings
from otel_distro.instrumentation._http_server.request import NO_CONTEXT, OTHER_METHOD, ServerRequest

if TYPE_CHECKING:
    from otel_distro.instrumentation._http_server.remote_parent import Headers

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))

_METHOD, _METHOD_ORIGINAL = schema.HTTP_REQUEST_METHOD.name, schema.HTTP_REQUEST_METHOD_ORIGINAL.name
_SCHEME, _PATH, _QUERY = schema.URL_SCHEME.name, schema.URL_PATH.name, schema.URL_QUERY.name
_HOST, _PORT = schema.SERVER_ADDRESS.name, schema.SERVER_PORT.name
_CLIENT, _VERSION = schema.CLIENT_ADDRESS.name, schema.NETWORK_PROTOCOL_VERSION.name
_AGENT, _SYNTHETIC = schema.USER_AGENT_ORIGINAL.name, schema.USER_AGENT_SYNTHETIC_TYPE.name


def begin(
    method: object,
    scheme: str,
    path: str,
    query: str,
    host: str,
    port: int,
    client: str,
    version: str,
    agent: str,
    headers: Headers,
    *,
    is_http: bool = True,
    ambient: bool = True,
) -> ServerRequest:
    """Start a request.

    Args:
        method: As the client sent it.
        scheme: ``http``, ``https``, ``ws`` or ``wss``.
        path: Decoded path, with the prefix of the application.
        query: Query string without the question mark.
        host: Header ``Host``, or the server's address.
        port: Port of the server, for a ``host`` without one; 0 if unknown.
        client: Address of the client; empty if unknown.
        version: Version of HTTP, such as ``1.1``; empty if unknown.
        agent: Header ``User-Agent``.
        headers: What looks up headers, for the propagators.
        is_http: False for a WebSocket, which makes no measurement: it may last for hours.
        ambient: Whether the span that is current here is the parent where the client sent none.
            False where a server calls: what was current at its start has no part in a request.
    """
    name = method if type(method) is str else text_of(method)
    attributes: dict[str, Any] = {_METHOD: name, _SCHEME: scheme, _PATH: path}
    if name not in METHODS:
        name = attributes[_METHOD] = _known_method(name, attributes)
    if query:
        attributes[_QUERY] = query
    if host:
        address, number = _address_and_port(host)
        attributes[_HOST] = address
        port = number or port
    if port:
        attributes[_PORT] = port
    if client:
        attributes[_CLIENT] = client
    if version:
        attributes[_VERSION] = version
    if agent:
        attributes[_AGENT] = agent
        kind = _synthetic_type(agent)
        if kind:
            attributes[_SYNTHETIC] = kind
    if options.common().trusts_proxy and (found := client_of_proxy(headers.get(None, "x-forwarded-for") or ())):
        client = attributes[_CLIENT] = found
    around = surroundings() if ambient else NO_CONTEXT
    parent, links = remote_parent.parent_of(headers, client, around)
    return ServerRequest(attributes, name, parent, links, is_http=is_http)


def _known_method(name: str, attributes: dict[str, Any]) -> str:
    if name.upper() in METHODS or options.common().all_methods:
        return name.upper()
    attributes[_METHOD_ORIGINAL] = name[:64]
    return OTHER_METHOD


@lru_cache(maxsize=256)
def _address_and_port(host: str) -> tuple[str, int]:
    """Return the parts of ``name:port``, ``[::1]:port`` or a name alone; port 0 if it has none."""
    name, colon, number = host.rpartition(":")
    if not colon or not number.isdecimal() or not number.isascii() or (":" in name and not name.endswith("]")):
        name, number = host, "0"
    return name.strip("[]")[:255], int(number) if len(number) <= 5 else 0


@lru_cache(maxsize=256)
def _synthetic_type(agent: str) -> str:
    if "bot" not in agent.lower() and "alwayson" not in agent.lower():
        return ""
    from opentelemetry.util.http import detect_synthetic_user_agent

    return detect_synthetic_user_agent(agent) or ""
