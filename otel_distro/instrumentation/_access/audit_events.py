"""Audit events of refused requests and logins: fields, client address, rate limit."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final, Literal

from otel_distro import audit, schema, settings
from otel_distro._otel import events
from otel_distro._startup.audit_rules import Limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REFUSED: Final = {401: "401 Unauthorized", 403: "403 Forbidden"}

_SCOPE: Final = "otel_distro.refused_attempts"
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
_OTHER: Final = "_OTHER"
_MAX_PATH_CHARS: Final = 256
_MAX_NAME_CHARS: Final = 100
_MAX_ADDRESS_CHARS: Final = 64
_MAX_HEADER_CHARS: Final = 512
_HTTP: Final = "http.refused"
_LOGIN: Final = "auth.login"


class AccessAudit:
    """Emits audit events of refused requests and logins, rate-limited per client."""

    def __init__(self) -> None:
        per_minute = settings.OTEL_DISTRO_AUDIT_RATE_LIMIT.get()
        self._limits = {_HTTP: Limit(per_minute), _LOGIN: Limit(per_minute)}
        self._trust_proxy = settings.OTEL_DISTRO_AUDIT_TRUST_PROXY.get()

    def client(self, address: object, forwarded: Iterable[str]) -> str:
        """Return the client's address.

        Args:
            address: The peer address that the server reports.
            forwarded: Values of ``X-Forwarded-For``, in order.
        """
        if self._trust_proxy and (found := client_of_proxy(forwarded)):
            return found
        return _ip(address) or printable(address, _MAX_ADDRESS_CHARS)

    def refused(self, status: int, *, method: object, path: object, route: str, client: str) -> None:
        """Audit a request that was answered with 401 or 403."""
        shown = printable(path, _MAX_PATH_CHARS)
        attributes = {
            schema.HTTP_REQUEST_METHOD.name: method if method in _METHODS else _OTHER,
            schema.HTTP_RESPONSE_STATUS_CODE.name: status,
            schema.URL_PATH.name: shown,
        }
        if route:
            attributes[schema.HTTP_ROUTE.name] = printable(route, _MAX_PATH_CHARS)
        self._emit(
            _HTTP, client, attributes, outcome="failure", target=route or shown, reason=REFUSED[status], source="http"
        )

    def login(self, outcome: Literal["success", "failure"], *, name: object, user_id: object, client: str) -> None:
        """Audit a successful or failed login."""
        attributes: dict[str, Any] = {}
        if user_id is not None:
            attributes[schema.USER_ID.name] = printable(user_id, _MAX_NAME_CHARS)
        self._emit(
            _LOGIN, client, attributes, outcome=outcome, actor=printable(name, _MAX_NAME_CHARS), source="framework"
        )

    def _emit(self, name: str, client: str, attributes: dict[str, Any], **fields: Any) -> None:
        if not self._limits[name].allow(client):
            events.count(_SCOPE, schema.AUDIT_EVENTS_RATE_LIMITED, {schema.AUDIT_NAME.name: name})
            return
        if client:
            attributes[schema.CLIENT_ADDRESS.name] = client
        audit.event(name, attributes=attributes, **fields)


def client_of_proxy(forwarded: Iterable[str]) -> str:
    """Return the client's address from values of ``X-Forwarded-For``; empty without a valid one.

    The proxy has appended the last address; any client can send the ones before it.
    """
    return _ip(",".join(forwarded)[-_MAX_HEADER_CHARS:].rpartition(",")[2])


def forwarded_of(environ: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values of ``X-Forwarded-For`` in a WSGI environment or a request's ``META``."""
    value = environ.get("HTTP_X_FORWARDED_FOR")
    return (value,) if isinstance(value, str) else ()


def printable(value: object, max_chars: int) -> str:
    """Return the text of an untrusted value: one line, printable, truncated."""
    text = events.text_of(value)[: max_chars + 1]
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _ip(value: object) -> str:
    """Return an IP address in canonical form, without port or brackets; empty if it is invalid."""
    text = events.text_of(value).strip()[:_MAX_ADDRESS_CHARS]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)
