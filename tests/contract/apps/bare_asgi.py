"""An ASGI application without a framework."""

import contract_parts as parts


async def one(body):
    yield body


async def body_of(receive):
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    return size


async def route(scope, receive, path):
    """Return status, headers and body."""
    first, _, rest = path.lstrip("/").partition("/")
    if first in {"", "plain", "number"} and scope["method"] not in {"GET", "HEAD"}:
        return 405, {}, b"not allowed"
    if path == "/":
        return 200, {}, b"home"
    if first == "plain":
        return 200, {}, parts.plain(rest).encode()
    if first == "number":
        return 200, {}, (await parts.anumber(rest)).encode()
    if path == "/upload":
        return 200, {}, str(await body_of(receive)).encode()
    if path in {"/stream", "/stream-fails", "/endless"}:
        return (
            200,
            {},
            {"/stream": parts.astream, "/stream-fails": parts.afailing_stream, "/endless": parts.aendless}[path](),
        )
    if path == "/raises":
        raise parts.Broken("before anything")
    if first == "handled":
        raise parts.Refusal(int(rest))
    if first == "abort":
        return int(rest), {}, b"aborted"
    if path == "/redirect":
        return 302, {"Location": "/plain/1"}, b""
    if path == "/unavailable":
        return 503, {}, b"later"
    if path == "/late":
        return 200, {}, (await parts.alate()).encode()
    if path == "/work":
        return 200, {}, parts.work().encode()
    if path == "/headers":
        return 200, parts.HEADERS, b"headers"
    if first in {"excluded", "healthz", "myhealthz-report"}:
        return 200, {}, b"fine"
    return 404, {}, b"unknown"


async def websocket(scope, receive, send):
    await receive()
    _, kind, room = scope["path"].split("/")
    if kind == "ws-refused":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return None
        if kind == "ws-fails":
            raise parts.BrokenSocket("in the websocket")
        parts.log.info("ws %s %s", room, message["text"])
        await send({"type": "websocket.send", "text": message["text"]})


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket":
        return await websocket(scope, receive, send)
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    try:
        status, headers, body = await route(scope, receive, path)
    except parts.Refusal as refusal:
        status, headers, body = refusal.status, {}, b"refused"
    length = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
    pairs = [(k.lower().encode(), v.encode()) for k, v in {"content-type": "text/plain", **length, **headers}.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    async for chunk in one(b"" if scope["method"] == "HEAD" else body) if isinstance(body, bytes) else body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    return await send({"type": "http.response.body", "body": b""})


app = parts.mounted_asgi(application, application)
