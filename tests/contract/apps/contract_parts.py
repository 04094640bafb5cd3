"""Parts of the contract applications of all frameworks: the work of the routes, middleware.

The routes, the same in every application:

==========================================  ================================================
``GET /``                                   "home"
``GET /plain/{n}``                          logs "plain n"
``GET /number/{n}``                         waits and logs "number n"
``GET /api/v1/users/{uid}/posts/{pid}``     through two levels of mounts, blueprints or routers
``GET /sub/{tenant}/things/{tid}``          through a mount whose prefix has a parameter
``GET /onhost/{z}``                         on the host ``h.example.org`` only
``GET /inner/plain/{n}``                    an application of the framework in the application
``POST /upload``                            answers the number of bytes of the body
``GET /stream``                             three chunks, a log line before each
``GET /stream-fails``                       fails after the first chunk
``GET /raises``                             fails before the first byte
``GET /handled/{status}``                   raises what an exception handler makes this status
``GET /abort/{status}``                     the framework's own way to answer this status
``GET /redirect``                           302
``GET /unavailable``                        503 without an exception
``GET /endless``                            a slow stream that a client leaves
``GET /late``                               answers when the client has left
``GET /hang``                               works longer than a worker may
``GET /background/{n}``                     answers; a background task logs "background n"
``GET /work``                               a statement of SQL and a request to the test's server
``GET /headers``                            with headers of its own
``GET /excluded/{n}``, ``/healthz``, ``/myhealthz-report``
``websocket /ws/{room}``                    echoes and logs each message
``websocket /ws-refused/{room}``            refused before it is accepted
``websocket /ws-fails/{room}``              fails at the first message
==========================================  ================================================
"""

import asyncio
import logging
import os
import sqlite3
import time
import urllib.request

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
log = logging.getLogger("contract")

HOST = "h.example.org"
HEADERS = {"X-Answer": "forty-two", "X-Secret-Answer": "answered-in-confidence"}
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Broken(Exception):
    """Raised before the first byte of a response."""


class BrokenStream(Exception):
    """Raised in a stream after its first chunk."""


class BrokenSocket(Exception):
    """Raised in a websocket after it was accepted."""


class Refusal(Exception):
    """Raised by a route; the application's exception handler answers with its status."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


def plain(n):
    log.info("plain %s", n)
    return f"plain {n}"


def number(n):
    time.sleep(0.02)
    log.info("number %s", n)
    return f"number {n}"


async def anumber(n):
    await asyncio.sleep(0.05)
    log.info("number %s", n)
    return f"number {n}"


def work():
    connection = sqlite3.connect(":memory:")
    connection.cursor().execute("SELECT 1").fetchall()
    connection.close()
    with _HTTP.open(os.environ["CONTRACT_UPSTREAM"], timeout=10) as answer:
        return answer.read().decode()


def stream():
    for chunk in range(3):
        time.sleep(0.02)
        log.info("stream %d", chunk)
        yield b"chunk "


async def astream():
    for chunk in range(3):
        await asyncio.sleep(0.02)
        log.info("stream %d", chunk)
        yield b"chunk "


def failing_stream():
    yield b"first "
    time.sleep(0.02)
    raise BrokenStream("in the stream")


async def afailing_stream():
    yield b"first "
    await asyncio.sleep(0.02)
    raise BrokenStream("in the stream")


def endless():
    for _ in range(100):
        yield b"x" * 20_000
        time.sleep(0.02)


async def aendless():
    for _ in range(100):
        yield b"x" * 20_000
        await asyncio.sleep(0.02)


def late():
    time.sleep(0.4)
    return "late"


async def alate():
    await asyncio.sleep(0.4)
    return "late"


def hang():
    time.sleep(60)
    return "woke up"


def background(n):
    time.sleep(0.2)
    log.info("background %s", n)


async def abackground(n):
    await asyncio.sleep(0.2)
    log.info("background %s", n)


def mounted_wsgi(outer, inner, prefix="/inner"):
    """Return ``outer`` with ``inner`` below ``prefix``, in a middleware of WSGI."""

    def dispatch(environ, start_response):
        path = environ.get("PATH_INFO", "")
        if not path.startswith(prefix + "/"):
            return outer(environ, start_response)
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
        environ["PATH_INFO"] = path[len(prefix) :]
        return inner(environ, start_response)

    def middleware(environ, start_response):
        return dispatch(environ, start_response)

    return middleware


def mounted_asgi(outer, inner, prefix="/inner"):
    """Return ``outer`` with ``inner`` below ``prefix``, in a middleware of ASGI."""

    async def dispatch(scope, receive, send):
        if not scope.get("path", "").startswith(prefix + "/"):
            return await outer(scope, receive, send)
        return await inner({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)

    async def middleware(scope, receive, send):
        return await dispatch(scope, receive, send)

    return middleware
