"""The names of attributes before version 1.23 of the semantic conventions.

For ``OTEL_SEMCONV_STABILITY_OPT_IN`` without ``http``, or with ``http/dup``.
Source: https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_distro import schema

if TYPE_CHECKING:
    from opentelemetry.trace import Span

DURATION: Final = "http.server.duration"

_OLD: Final = {
    schema.HTTP_REQUEST_METHOD.name: "http.method",
    schema.URL_SCHEME.name: "http.scheme",
    schema.SERVER_ADDRESS.name: "net.host.name",
    schema.SERVER_PORT.name: "net.host.port",
    schema.CLIENT_ADDRESS.name: "net.peer.ip",
    schema.NETWORK_PROTOCOL_VERSION.name: "http.flavor",
    schema.USER_AGENT_ORIGINAL.name: "http.user_agent",
}
_STATUS: Final = "http.status_code"
_MEASURED: Final = (schema.SERVER_ADDRESS.name, schema.SERVER_PORT.name)


def translated(attributes: dict[str, Any], *, keep: bool) -> dict[str, Any]:
    """Return attributes of a request by their older names.

    Args:
        attributes: Attributes by their names of today.
        keep: Whether to keep these, too.
    """
    path, query = attributes.get(schema.URL_PATH.name, ""), attributes.get(schema.URL_QUERY.name)
    found = dict(attributes) if keep else {}
    found.update({old: attributes[name] for name, old in _OLD.items() if name in attributes})
    found["http.target"] = f"{path}?{query}" if query else path
    return found


def finish(span: Span, status: int) -> None:
    """Set the status of the response on a span."""
    if status:
        span.set_attribute(_STATUS, status)


def measured(attributes: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the older measurement."""
    found = {old: attributes[name] for name, old in _OLD.items() if name in attributes}
    found.update({_OLD[name]: request[name] for name in _MEASURED if name in request})
    status = attributes.get(schema.HTTP_RESPONSE_STATUS_CODE.name)
    return found if status is None else {**found, _STATUS: status}
