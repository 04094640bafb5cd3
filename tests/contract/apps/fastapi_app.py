"""FastAPI: a router in a router, mounted applications (one of Flask), sync and async routes."""

import contract_parts as parts
import flask_app
from a2wsgi import WSGIMiddleware
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Host, Route, Router


async def params(request):
    return PlainTextResponse(" ".join(request.path_params.values()))


def make():
    app = FastAPI(default_response_class=PlainTextResponse)
    users, v1, tenants = APIRouter(), APIRouter(prefix="/v1"), FastAPI(default_response_class=PlainTextResponse)

    @users.get("/users/{uid}/posts/{pid}")
    async def post(uid: str, pid: str):
        return f"{uid} {pid}"

    v1.include_router(users)
    app.include_router(v1, prefix="/api")

    @tenants.get("/things/{tid}")
    async def thing(tid: str, request: Request):
        return f"{request.path_params['tenant']} {tid}"

    app.mount("/sub/{tenant}", tenants)
    app.router.routes.append(Host(parts.HOST, Router([Route("/onhost/{z}", params)])))

    @app.get("/")
    async def home():
        return "home"

    @app.get("/plain/{n}")
    def plain(n: str):
        return parts.plain(n)

    @app.get("/number/{n}")
    async def number(n: str):
        return await parts.anumber(n)

    @app.post("/upload")
    async def upload(request: Request):
        return str(len(await request.body()))

    @app.get("/stream")
    async def stream():
        return StreamingResponse(parts.astream())

    @app.get("/stream-fails")
    async def stream_fails():
        return StreamingResponse(parts.afailing_stream())

    @app.get("/endless")
    async def endless():
        return StreamingResponse(parts.aendless())

    @app.get("/raises")
    async def raises():
        raise parts.Broken("before anything")

    @app.get("/handled/{status}")
    async def handled(status: int):
        raise parts.Refusal(status)

    @app.exception_handler(parts.Refusal)
    async def refused(request, error):
        return PlainTextResponse("refused", error.status)

    @app.get("/abort/{status}")
    async def abort(status: int):
        raise HTTPException(status)

    @app.get("/redirect")
    async def redirect():
        return RedirectResponse("/plain/1", 302)

    @app.get("/unavailable")
    async def unavailable():
        return PlainTextResponse("later", 503)

    @app.get("/late")
    async def late():
        return await parts.alate()

    @app.get("/background/{n}")
    async def background(n: str, tasks: BackgroundTasks):
        tasks.add_task(parts.background, n)
        return "started"

    @app.get("/work")
    def work():
        return parts.work()

    @app.get("/headers")
    async def headers():
        return PlainTextResponse("headers", headers=parts.HEADERS)

    @app.get("/excluded/{n}")
    async def excluded(n: str):
        return "fine"

    @app.get("/healthz")
    async def healthz():
        return "fine"

    @app.get("/myhealthz-report")
    async def report():
        return "fine"

    @app.websocket("/ws/{room}")
    async def echo(websocket: WebSocket, room: str):
        await websocket.accept()
        try:
            while True:
                text = await websocket.receive_text()
                parts.log.info("ws %s %s", room, text)
                await websocket.send_text(text)
        except WebSocketDisconnect:
            pass

    @app.websocket("/ws-refused/{room}")
    async def refuse(websocket: WebSocket, room: str):
        await websocket.close()

    @app.websocket("/ws-fails/{room}")
    async def fail(websocket: WebSocket, room: str):
        await websocket.accept()
        await websocket.receive_text()
        raise parts.BrokenSocket("in the websocket")

    return app


app = make()
app.mount("/inner", make())
app.mount("/wsgi", WSGIMiddleware(flask_app.make()))
