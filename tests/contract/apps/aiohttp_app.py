"""aiohttp's server: an application in an application in an application, a domain."""

import asyncio
import sys

import contract_parts as parts
from aiohttp import WSMsgType, web


def answer(work):
    """Return a handler that answers with the text that ``work`` returns."""

    async def handler(request):
        made = work(**request.match_info)
        return web.Response(text=await made if asyncio.iscoroutine(made) else made)

    return handler


async def upload(request):
    return web.Response(text=str(len(await request.read())))


def stream(chunks):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in chunks():
            await response.write(chunk)
        return response

    return handler


async def raises(request):
    raise parts.Broken("before anything")


async def handled(request):
    raise parts.Refusal(int(request.match_info["status"]))


@web.middleware
async def refused(request, handler):
    try:
        return await handler(request)
    except parts.Refusal as error:
        return web.Response(text="refused", status=error.status)


async def abort(request):
    raise {"403": web.HTTPForbidden, "404": web.HTTPNotFound}[request.match_info["status"]]


async def redirect(request):
    raise web.HTTPFound("/plain/1")


async def unavailable(request):
    return web.Response(text="later", status=503)


async def headers(request):
    return web.Response(text="headers", headers=parts.HEADERS)


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            parts.log.info("ws %s %s", request.match_info["room"], message.data)
            await socket.send_str(message.data)
    return socket


async def refuse(request):
    raise web.HTTPForbidden


async def fail(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    raise parts.BrokenSocket("in the websocket")


def make(*, with_host):
    app, api, v1, tenants, host = (web.Application(middlewares=[refused]) for _ in range(5))
    v1.add_routes([web.get("/users/{uid}/posts/{pid}", answer(lambda uid, pid: f"{uid} {pid}"))])
    api.add_subapp("/v1", v1)
    app.add_subapp("/api", api)
    tenants.add_routes([web.get("/things/{tid}", answer(lambda tid: f"acme {tid}"))])
    app.add_subapp("/sub/acme", tenants)
    host.add_routes([web.get("/onhost/{z}", answer(lambda z: z))])
    if with_host:
        app.add_domain(parts.HOST, host)
    app.add_routes(
        [
            web.get("/", answer(lambda: "home")),
            web.get("/plain/{n}", answer(parts.plain)),
            web.get("/number/{n}", answer(parts.anumber)),
            web.post("/upload", upload),
            web.get("/stream", stream(parts.astream)),
            web.get("/stream-fails", stream(parts.afailing_stream)),
            web.get("/endless", stream(parts.aendless)),
            web.get("/raises", raises),
            web.get("/handled/{status}", handled),
            web.get("/abort/{status}", abort),
            web.get("/redirect", redirect),
            web.get("/unavailable", unavailable),
            web.get("/late", answer(parts.alate)),
            web.get("/work", answer(parts.work)),
            web.get("/headers", headers),
            web.get("/excluded/{n}", answer(lambda n: "fine")),
            web.get("/healthz", answer(lambda: "fine")),
            web.get("/myhealthz-report", answer(lambda: "fine")),
            web.get("/ws/{room}", echo),
            web.get("/ws-refused/{room}", refuse),
            web.get("/ws-fails/{room}", fail),
        ]
    )
    return app


if __name__ == "__main__":
    app = make(with_host=True)
    app.add_subapp("/inner", make(with_host=False))
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True)
