"""Starlette: a mount in a mount, a host, a mounted second application."""

import contract_parts as parts
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocketDisconnect


async def home(request):
    return PlainTextResponse("home")


def plain(request):
    return PlainTextResponse(parts.plain(request.path_params["n"]))


async def number(request):
    return PlainTextResponse(await parts.anumber(request.path_params["n"]))


async def params(request):
    return PlainTextResponse(" ".join(request.path_params.values()))


async def upload(request):
    return PlainTextResponse(str(len(await request.body())))


async def stream(request):
    return StreamingResponse(parts.astream())


async def stream_fails(request):
    return StreamingResponse(parts.afailing_stream())


async def endless(request):
    return StreamingResponse(parts.aendless())


async def raises(request):
    raise parts.Broken("before anything")


async def handled(request):
    raise parts.Refusal(int(request.path_params["status"]))


async def refused(request, error):
    return PlainTextResponse("refused", error.status)


async def abort(request):
    raise HTTPException(int(request.path_params["status"]))


async def redirect(request):
    return RedirectResponse("/plain/1", 302)


async def unavailable(request):
    return PlainTextResponse("later", 503)


async def late(request):
    return PlainTextResponse(await parts.alate())


async def background(request):
    return PlainTextResponse("started", background=BackgroundTask(parts.abackground, request.path_params["n"]))


def work(request):
    return PlainTextResponse(parts.work())


async def headers(request):
    return PlainTextResponse("headers", headers=parts.HEADERS)


async def fine(request):
    return PlainTextResponse("fine")


async def echo(websocket):
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            parts.log.info("ws %s %s", websocket.path_params["room"], text)
            await websocket.send_text(text)
    except WebSocketDisconnect:
        pass


async def refuse(websocket):
    await websocket.close()


async def fail(websocket):
    await websocket.accept()
    await websocket.receive_text()
    raise parts.BrokenSocket("in the websocket")


def make(*more):
    return Starlette(
        routes=[
            *more,
            Host(parts.HOST, Router([Route("/onhost/{z}", params)])),
            Route("/", home),
            Route("/plain/{n}", plain),
            Route("/number/{n}", number),
            Mount("/api", routes=[Mount("/v1", routes=[Route("/users/{uid}/posts/{pid}", params)])]),
            Mount("/sub/{tenant}", Starlette(routes=[Route("/things/{tid}", params)])),
            Route("/upload", upload, methods=["POST"]),
            Route("/stream", stream),
            Route("/stream-fails", stream_fails),
            Route("/endless", endless),
            Route("/raises", raises),
            Route("/handled/{status}", handled),
            Route("/abort/{status}", abort),
            Route("/redirect", redirect),
            Route("/unavailable", unavailable),
            Route("/late", late),
            Route("/background/{n}", background),
            Route("/work", work),
            Route("/headers", headers),
            Route("/excluded/{n}", fine),
            Route("/healthz", fine),
            Route("/myhealthz-report", fine),
            WebSocketRoute("/ws/{room}", echo),
            WebSocketRoute("/ws-refused/{room}", refuse),
            WebSocketRoute("/ws-fails/{room}", fail),
        ],
        exception_handlers={parts.Refusal: refused},
    )


app = make(Mount("/inner", make()))
