"""Captured headers: names chosen by the settings, secret values hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_distro.instrumentation._http_server import options

if TYPE_CHECKING:
    from collections.abc import Iterable
    from re import Pattern

    from otel_distro.instrumentation._http_server.options import Options

_HIDDEN: Final = "[REDACTED]"


def of_request(headers: Iterable[tuple[str, str]], chosen: Options | None = None) -> dict[str, list[str]]:
    """Return the headers of a request to capture, as attributes.

    Args:
        headers: Names and values.
        chosen: Options of the framework, where it can have names of its own.
    """
    own = chosen.request_headers if chosen is not None else None
    return _captured(own or options.common().request_headers, headers, "http.request.header.", chosen)


def of_response(headers: Iterable[tuple[str, str]], chosen: Options | None = None) -> dict[str, list[str]]:
    """Return the headers of a response to capture, as attributes; the arguments are as above."""
    own = chosen.response_headers if chosen is not None else None
    return _captured(own or options.common().response_headers, headers, "http.response.header.", chosen)


def _captured(
    pattern: Pattern[str] | None, headers: Iterable[tuple[str, str]], prefix: str, chosen: Options | None
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if pattern is None:
        return found
    sanitized = (chosen.sanitized if chosen is not None else None) or options.common().sanitized
    for name, value in headers:
        if pattern.fullmatch(name):
            hidden = sanitized is not None and sanitized.search(name)
            key = prefix + name.lower().replace("-", "_")
            found.setdefault(key, []).append(_HIDDEN if hidden else value)
    return found
