"""The servers: how each one is started on a port, and how it is stopped."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contract.frameworks import FRAMEWORKS, SOCKETS, Framework, without
from tests.support.processes import BIN

if TYPE_CHECKING:
    from collections.abc import Mapping

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Server:
    """A server.

    Args:
        command: Its command line; ``{module}`` and ``{port}`` are replaced.
        stop: The signal that ends it, to the process that was started.
        group: Whether the signal goes to the whole group, as a terminal's Ctrl-C.
        keep_alive: Whether it announces that it keeps or closes a connection.
        http2: Whether the client speaks HTTP/2.
        without: Names of situations that it cannot have, with the reason.
    """

    command: tuple[str, ...]
    stop: int = signal.SIGTERM
    group: bool = False
    keep_alive: bool = True
    http2: bool = False
    without: Mapping[str, str] = field(default_factory=dict)


def gunicorn(worker: str, *options: str) -> tuple[str, ...]:
    return ("gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", worker, *options, "{module}:app")


def script(server: str) -> tuple[str, ...]:
    return (sys.executable, str(APPS / "serve.py"), server, "{module}", "{port}")


# It leaves a stream of HTTP/2 that failed open for the time of its keep-alive.
HYPERCORN = ("hypercorn", "{module}:app", "--bind", "127.0.0.1:{port}", "--keep-alive", "1")

SERVERS: Mapping[str, Server] = {
    "gunicorn-sync": Server(gunicorn("sync")),
    "gunicorn-gthread": Server(gunicorn("gthread", "--threads", "4")),
    "gunicorn-gevent": Server(gunicorn("gevent")),
    "granian-wsgi": Server(
        ("granian", "--interface", "wsgi", "--port", "{port}", "--blocking-threads", "4", "{module}:app")
    ),
    "uwsgi": Server(
        (
            *("uwsgi", "--http-socket", "127.0.0.1:{port}", "--module", "{module}:app", "--enable-threads"),
            *("--virtualenv", sys.prefix, "--master", "--processes", "1", "--die-on-term"),
        ),
        keep_alive=False,
    ),
    "werkzeug": Server(script("werkzeug"), stop=signal.SIGINT),
    "wsgiref": Server(script("wsgiref"), stop=signal.SIGINT),
    "runserver": Server(
        (sys.executable, str(APPS / "django_app.py"), "runserver", "127.0.0.1:{port}"), stop=signal.SIGINT, group=True
    ),
    "waitress": Server(("waitress-serve", "--listen", "127.0.0.1:{port}", "{module}:app")),
    "cheroot": Server(("cheroot", "--bind", "127.0.0.1:{port}", "{module}:app")),
    "gevent": Server(script("gevent")),
    "uvicorn": Server(("uvicorn", "{module}:app", "--port", "{port}")),
    "hypercorn-h1": Server(HYPERCORN),
    "hypercorn-h2": Server(
        HYPERCORN,
        http2=True,
        without=without((SOCKETS, "the client has none over HTTP/2"), ("pipelined", "HTTP/2 has streams instead")),
    ),
    "granian-asgi": Server(("granian", "--interface", "asgi", "--port", "{port}", "{module}:app")),
    "gunicorn-asgi": Server(gunicorn("asgi")),
    "gunicorn-uvicorn": Server(gunicorn("uvicorn_worker.UvicornWorker")),
    "own": Server((sys.executable, str(APPS / "{module}.py"), "{port}"), stop=signal.SIGINT),
}


@dataclass(frozen=True)
class Pair:
    """A framework's application on a server.

    Args:
        framework_name: The framework.
        server_name: The server.
        excluding: Whether OTEL_PYTHON_EXCLUDED_URLS is set.
    """

    framework_name: str
    server_name: str
    excluding: bool = False

    def __str__(self) -> str:
        return f"{self.framework_name}@{self.server_name}"

    @property
    def framework(self) -> Framework:
        """The framework."""
        return FRAMEWORKS[self.framework_name]

    @property
    def server(self) -> Server:
        """The server."""
        return SERVERS[self.server_name]

    @property
    def unrecorded(self) -> str:
        """The reason why the requests of this pair are not recorded; empty if they are."""
        return UNRECORDED.get(str(self), "")

    @property
    def without(self) -> Mapping[str, str]:
        """The situations that this pair cannot have, with the reason."""
        excluded = {
            "health": "the defaults do not apply where the user sets the variable",
        }
        included = {"excluded": "the servers' runs have it"}
        return {**(excluded if self.excluding else included), **self.framework.without, **self.server.without}

    def command(self, port: int) -> list[str]:
        """Return the command line."""
        words = [word.format(module=self.framework.module, port=port) for word in self.server.command]
        return [str(BIN / words[0]) if (BIN / words[0]).exists() else words[0], *words[1:]]


UNRECORDED = {
    "bare-wsgi@uwsgi": "uWSGI calls the application from C, and without a framework there is nothing to instrument",
}
"""Pairs of which only answers, output and exit status are checked, with the reason."""

WSGI_FRAMEWORKS = (
    Pair("flask", "gunicorn-gthread"),
    Pair("django", "gunicorn-sync"),
    Pair("django", "runserver"),
    Pair("falcon", "gunicorn-gevent"),
    Pair("pyramid", "waitress"),
    Pair("bottle", "wsgiref"),
)
ASGI_FRAMEWORKS = (
    Pair("starlette", "uvicorn"),
    Pair("fastapi", "uvicorn"),
    Pair("django-asgi", "uvicorn"),
    Pair("quart", "hypercorn-h1"),
    Pair("litestar", "uvicorn"),
    Pair("falcon-asgi", "uvicorn"),
    Pair("aiohttp", "own"),
    Pair("tornado", "own"),
)
_WSGI = ("gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "granian-wsgi", "uwsgi")
_WSGI_IN_PYTHON = ("werkzeug", "wsgiref", "waitress", "cheroot", "gevent")
_ASGI = ("uvicorn", "hypercorn-h1", "hypercorn-h2", "granian-asgi", "gunicorn-asgi", "gunicorn-uvicorn")


def _pairs(frameworks: tuple[str, ...], servers: tuple[str, ...]) -> tuple[Pair, ...]:
    return tuple(Pair(framework, server, excluding=True) for framework in frameworks for server in servers)


WSGI_SERVERS = _pairs(("bare-wsgi", "flask"), _WSGI)
WSGI_SERVERS_IN_PYTHON = _pairs(("bare-wsgi", "flask"), _WSGI_IN_PYTHON)
ASGI_SERVERS = _pairs(("bare-asgi", "fastapi"), _ASGI)
