"""Captured headers: names chosen by the settings, secret values hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_distro.instrumentation._http_server import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
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


class MappingHeaders:
    """Looks up headers in a mapping that ignores case.

    Servers with a protocol of their own have one.

    Args:
        mapping: The headers.
        values: Returns all values of a name, in order.
    """

    __slots__ = ("_mapping", "_values")

    def __init__(self, mapping: Mapping[str, str], values: Callable[[str], list[str]]) -> None:
        self._mapping = mapping
        self._values = values

    def has_any(self, names: Iterable[str]) -> bool:
        """Return whether one of these headers is there."""
        mapping = self._mapping
        return any(name in mapping for name in names)

    def get(self, _: Any, key: str) -> list[str] | None:
        """Return the values of a header."""
        return self._values(key) if key in self._mapping else None

    def keys(self, _: Any) -> list[str]:
        """Return the names of all headers."""
        return [name.lower() for name in self._mapping]
