"""The frameworks: module of the application, style of its templates, and what it cannot do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["wsgi", "asgi", "own"]

NO_WEBSOCKET_IN_WSGI = "WSGI has no websockets"
NO_HOSTS = "its router does not look at the host"
NO_BACKGROUND = "it has no background tasks"
NO_PARAMETER_IN_MOUNT = "a mount has a fixed prefix; the template below it is checked all the same"
SOCKETS = ("websocket", "websocket_refused", "websocket_closed_by_client", "websocket_client_gone", "websocket_fails")


@dataclass(frozen=True)
class Framework:
    """A framework.

    Args:
        module: The application in ``apps``, with the attribute ``app``.
        kind: Its interface, or ``own`` if it has its own server.
        styles: How a parameter is written in its templates, with ``{}`` for its name; the first is
            as in the application, the others are as good. No styles: it has no routes.
        without: Names of situations that it cannot have, with the reason.
        fixed: Templates that differ from the table in ``contract_parts.py``.
        stream_error: The class of what leaves the framework when a stream fails.
        other: The right route of an application of another framework and interface inside of it.
        leading_slash: Whether its templates begin with a slash as they are written.
        env: Variables that the application needs.
    """

    module: str
    kind: Kind
    styles: tuple[str, ...]
    without: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)
    stream_error: str = "BrokenStream"
    other: str = ""
    leading_slash: bool = True
    env: Mapping[str, str] = field(default_factory=dict)

    def routes(self, template: str) -> set[str | None]:
        """Return the right values of ``http.route`` for a template with ``{name}`` parameters."""
        if not self.styles:
            return {None}
        template = self.fixed.get(template, template)
        parts = re.split(r"\{(\w+)\}", template)
        found = {
            "".join(style.format(part) if index % 2 else part for index, part in enumerate(parts))
            for style in self.styles
        }
        return {*found, *(() if self.leading_slash else (route.lstrip("/") for route in found))}


def without(*reasons: tuple[str | tuple[str, ...], str]) -> dict[str, str]:
    """Return the reason for each situation."""
    return {name: reason for names, reason in reasons for name in ((names,) if isinstance(names, str) else names)}


BARE = (("host", "nested_parameter"), "it has no routes")
WSGI = (SOCKETS, NO_WEBSOCKET_IN_WSGI), ("background", "WSGI has no background tasks")

FRAMEWORKS: Mapping[str, Framework] = {
    "bare-wsgi": Framework("bare_wsgi", "wsgi", (), without(*WSGI, BARE, (("mount", "unknown_in_mount"), BARE[1]))),
    "flask": Framework(
        "flask_app",
        "wsgi",
        ("<{}>",),
        without(*WSGI, ("host", "it matches hosts only for all routes of an application")),
    ),
    "django": Framework("django_app", "wsgi", ("<{}>",), without(*WSGI, ("host", NO_HOSTS)), leading_slash=False),
    "falcon": Framework("falcon_app", "wsgi", ("{{{}}}",), without(*WSGI, ("host", NO_HOSTS))),
    "pyramid": Framework("pyramid_app", "wsgi", ("{{{}}}",), without(*WSGI, ("host", NO_HOSTS))),
    "bottle": Framework(
        "bottle_app",
        "wsgi",
        ("<{}>",),
        without(*WSGI, ("host", NO_HOSTS)),
        fixed={"/sub/{tenant}/things/{tid}": "/sub/acme/things/{tid}"},
    ),
    "bare-asgi": Framework(
        "bare_asgi", "asgi", (), without(BARE, (("mount", "unknown_in_mount", "background"), BARE[1]))
    ),
    "starlette": Framework("starlette_app", "asgi", ("{{{}}}",), {}),
    "fastapi": Framework("fastapi_app", "asgi", ("{{{}}}",), {}, other="/wsgi/plain/<n>"),
    "quart": Framework(
        "quart_app", "asgi", ("<{}>",), without(("host", "it matches hosts only for all routes of an application"))
    ),
    "litestar": Framework(
        "litestar_app",
        "asgi",
        ("{{{}:str}}", "{{{}}}"),
        without(("host", NO_HOSTS)),
        stream_error="LitestarException",
    ),
    "falcon-asgi": Framework(
        "falcon_asgi_app",
        "asgi",
        ("{{{}}}",),
        without(("host", NO_HOSTS), ("nested", "its router does not take the root path off")),
    ),
    "django-asgi": Framework(
        "django_app",
        "asgi",
        ("<{}>",),
        without(("host", NO_HOSTS), ("background", NO_BACKGROUND), (SOCKETS, "it has no websockets")),
        leading_slash=False,
        env={"CONTRACT_DJANGO": "asgi"},
    ),
    "aiohttp": Framework(
        "aiohttp_app",
        "own",
        ("{{{}}}",),
        without(("background", NO_BACKGROUND), ("unknown_method", "its parser refuses the method")),
        fixed={"/sub/{tenant}/things/{tid}": "/sub/acme/things/{tid}"},
    ),
    "tornado": Framework(
        "tornado_app",
        "own",
        ("(?P<{}>[^/]+)", "{{{}}}"),
        without(("background", NO_BACKGROUND)),
    ),
}
