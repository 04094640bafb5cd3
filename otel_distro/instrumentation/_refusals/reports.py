"""What is told of a refused request or a login: by whom, of what, and how often at most."""

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
_LONGEST_PATH: Final = 256
_LONGEST_NAME: Final = 100
_LONGEST_ADDRESS: Final = 64
_LONGEST_HEADER: Final = 512
_HTTP: Final = "http.refused"
_LOGIN: Final = "auth.login"


class Reports:
    """Tells of refused requests and of logins; of each client only as many in a minute as the settings allow."""

    def __init__(self) -> None:
        each = settings.OTEL_DISTRO_AUDIT_RATE_LIMIT.get()
        self._limits = {_HTTP: Limit(each), _LOGIN: Limit(each)}
        self._trust_proxy = settings.OTEL_DISTRO_AUDIT_TRUST_PROXY.get()

    def client(self, address: object, forwarded: Iterable[str]) -> str:
        """Return the client's address. ``address``: as the server says. ``forwarded``: values of X-Forwarded-For, in order."""
        if self._trust_proxy:
            # What stands before the last one was written by who knows whom.
            last = ",".join(forwarded)[-_LONGEST_HEADER:].rpartition(",")[2]
            if found := _ip(last):
                return found
        return _ip(address) or plain(address, _LONGEST_ADDRESS)

    def refused(self, status: int, *, method: object, path: object, route: str, client: str) -> None:
        """Tell of a request that was answered with 401 or 403."""
        where = plain(path, _LONGEST_PATH)
        attributes = {
            schema.HTTP_REQUEST_METHOD.name: method if method in _METHODS else _OTHER,
            schema.HTTP_RESPONSE_STATUS_CODE.name: status,
            schema.URL_PATH.name: where,
        }
        if route:
            attributes[schema.HTTP_ROUTE.name] = plain(route, _LONGEST_PATH)
        self._tell(
            _HTTP, client, attributes, outcome="failure", target=route or where, reason=REFUSED[status], source="http"
        )

    def login(self, outcome: Literal["success", "failure"], *, name: object, user_id: object, client: str) -> None:
        """Tell that somebody logged in, or failed to."""
        attributes: dict[str, Any] = {}
        if user_id is not None:
            attributes[schema.USER_ID.name] = plain(user_id, _LONGEST_NAME)
        self._tell(_LOGIN, client, attributes, outcome=outcome, actor=plain(name, _LONGEST_NAME), source="framework")

    def _tell(self, name: str, client: str, attributes: dict[str, Any], **fields: Any) -> None:
        if not self._limits[name].allow(client):
            events.count(_SCOPE, schema.AUDIT_EVENTS_RATE_LIMITED, {schema.AUDIT_NAME.name: name})
            return
        if client:
            attributes[schema.CLIENT_ADDRESS.name] = client
        audit.event(name, attributes=attributes, **fields)


def forwarded_of(environ: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a WSGI environment, or a request's ``META``, says of the clients before the proxy."""
    value = environ.get("HTTP_X_FORWARDED_FOR")
    return (value,) if isinstance(value, str) else ()


def plain(value: object, longest: int) -> str:
    """Return the text of a value that a client may have chosen: one line, printable, bounded."""
    text = events.text_of(value)[: longest + 1]
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _ip(value: object) -> str:
    """Return an address as it is usually written, without port or brackets; empty for what is none."""
    text = events.text_of(value).strip()[:_LONGEST_ADDRESS]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)
