"""Litestar: a router in a router, a mounted second application."""

import contract_parts as parts
from litestar import Litestar, MediaType, Request, Response, Router, WebSocket, asgi, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import HTTPException, WebSocketDisconnect
from litestar.response import Redirect, Stream
from litestar.types import Receive, Scope, Send

TEXT = MediaType.TEXT


@get("/", media_type=TEXT)
async def home() -> str:
    return "home"


@get("/plain/{n:str}", media_type=TEXT, sync_to_thread=True)
def plain(n: str) -> str:
    return parts.plain(n)


@get("/number/{n:str}", media_type=TEXT)
async def number(n: str) -> str:
    return await parts.anumber(n)


@get("/users/{uid:str}/posts/{pid:str}", media_type=TEXT)
async def user_post(uid: str, pid: str) -> str:
    return f"{uid} {pid}"


@get("/things/{tid:str}", media_type=TEXT)
async def thing(tenant: str, tid: str) -> str:
    return f"{tenant} {tid}"


@post("/upload", media_type=TEXT, status_code=200, request_max_body_size=None)
async def upload(request: Request) -> str:
    return str(len(await request.body()))


@get("/stream")
async def stream() -> Stream:
    return Stream(parts.astream())


@get("/stream-fails")
async def stream_fails() -> Stream:
    return Stream(parts.afailing_stream())


@get("/endless")
async def endless() -> Stream:
    return Stream(parts.aendless())


@get("/raises")
async def raises() -> None:
    raise parts.Broken("before anything")


@get("/handled/{status:int}")
async def handled(status: int) -> None:
    raise parts.Refusal(status)


def refused(request: Request, error: parts.Refusal) -> Response:
    return Response("refused", status_code=error.status, media_type=TEXT)


@get("/abort/{status:int}")
async def abort(status: int) -> None:
    raise HTTPException(status_code=status)


@get("/redirect", status_code=302)
async def redirect() -> Redirect:
    return Redirect("/plain/1", status_code=302)


@get("/unavailable")
async def unavailable() -> Response:
    return Response("later", status_code=503, media_type=TEXT)


@get("/late", media_type=TEXT)
async def late() -> str:
    return await parts.alate()


@get("/background/{n:str}")
async def background(n: str) -> Response:
    return Response("started", media_type=TEXT, background=BackgroundTask(parts.abackground, n))


@get("/work", media_type=TEXT, sync_to_thread=True)
def work() -> str:
    return parts.work()


@get("/headers")
async def headers() -> Response:
    return Response("headers", headers=parts.HEADERS, media_type=TEXT)


@get(["/excluded/{n:str}", "/healthz", "/myhealthz-report"], media_type=TEXT)
async def fine() -> str:
    return "fine"


@websocket("/ws/{room:str}")
async def echo(socket: WebSocket, room: str) -> None:
    await socket.accept()
    try:
        while True:
            text = await socket.receive_text()
            parts.log.info("ws %s %s", room, text)
            await socket.send_text(text)
    except WebSocketDisconnect:
        pass


@websocket("/ws-refused/{room:str}")
async def refuse(socket: WebSocket, room: str) -> None:
    await socket.close()


@websocket("/ws-fails/{room:str}")
async def fail(socket: WebSocket, room: str) -> None:
    await socket.accept()
    await socket.receive_text()
    raise parts.BrokenSocket("in the websocket")


def make(*more) -> Litestar:
    return Litestar(
        [
            *(
                home,
                plain,
                number,
                upload,
                stream,
                stream_fails,
                endless,
                raises,
                handled,
                abort,
                redirect,
                unavailable,
            ),
            *(late, background, work, headers, fine, echo, refuse, fail, *more),
            Router("/api", route_handlers=[Router("/v1", route_handlers=[user_post])]),
            Router("/sub/{tenant:str}", route_handlers=[thing]),
        ],
        exception_handlers={parts.Refusal: refused},
        openapi_config=None,
    )


inner = make()


@asgi("/inner", is_mount=True, copy_scope=True)
async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    await inner(scope, receive, send)


app = make(mounted)
