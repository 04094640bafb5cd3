"""An ASGI application without a framework: answers, logs, and fails at ``/fail``."""

import json
import logging
import os

log = logging.getLogger("bare_asgi")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    log.warning("item %s", scope["path"])
    if scope["path"] == "/fail":
        raise ValueError("of an application")
    body = json.dumps({"pid": os.getpid()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
