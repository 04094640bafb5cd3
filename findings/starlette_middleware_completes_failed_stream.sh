#!/usr/bin/env bash
# Starlette 1.10.0: behind a BaseHTTPMiddleware a stream that fails ends properly on the wire. The
# server gets a last, empty body message, and only then the exception: the client cannot tell the cut
# response from a whole one. Without the middleware the last message never comes.
#
# Why it matters: whatever takes the last body message for the end of a good response (access logs,
# metrics, the end of a span) counts the failure as a success, and clients cache the half of a file.
#
# Seen: 2026-11-30, CPython 3.11 on Linux, with a chunked response.
# Source: starlette/middleware/base.py, and running this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check starlette==1.10.0 anyio==4.15.0
cat >"$folder/program.py" <<'PY'
import asyncio
import sys

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route


async def stream(request):
    async def parts():
        yield "half of it"
        raise OSError("the disk is gone")

    return StreamingResponse(parts())


async def pass_on(request, call_next):
    return await call_next(request)


between = [Middleware(BaseHTTPMiddleware, dispatch=pass_on)] if sys.argv[1] == "with" else []
app = Starlette(routes=[Route("/", stream)], middleware=between)
sent = []


async def receive():
    await asyncio.sleep(60)


async def send(message):
    if message["type"] == "http.response.body":
        sent.append("last" if not message.get("more_body") else "part")


async def main():
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
    try:
        await app({**scope, "http_version": "1.1", "scheme": "http", "server": ("a", 80)}, receive, send)
    except BaseException as error:
        sent.append(type(error).__name__)


asyncio.run(main())
print(", ".join(sent))
PY
cd "$folder"
without=$(venv/bin/python program.py without)
with=$(venv/bin/python program.py with)
echo "without the middleware: $without"
echo "with the middleware:    $with"
[ "$without" = "part, OSError" ] || [ "$without" = "part, ExceptionGroup" ]
[ "$with" = "part, last, OSError" ] || [ "$with" = "part, last, ExceptionGroup" ]
