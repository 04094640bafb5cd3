"""Quart: blueprints in a blueprint, a second application by a dispatcher."""

import contract_parts as parts
from quart import Blueprint, Quart, abort, redirect, request, websocket


def make():
    app = Quart("contract_quart")

    @app.get("/")
    async def home():
        return "home"

    @app.get("/plain/<n>")
    def plain(n):
        return parts.plain(n)

    app.get("/number/<n>")(parts.anumber)
    app.get("/late")(parts.alate)

    @app.get("/work")
    def work():
        return parts.work()

    outer, v1, users = (Blueprint(name, "contract_quart") for name in ("outer", "v1", "users"))

    @users.get("/users/<uid>/posts/<pid>")
    async def post(uid, pid):
        return f"{uid} {pid}"

    v1.register_blueprint(users)
    outer.register_blueprint(v1, url_prefix="/v1")
    app.register_blueprint(outer, url_prefix="/api")

    tenants = Blueprint("tenants", "contract_quart")

    @tenants.get("/things/<tid>")
    async def thing(tenant, tid):
        return f"{tenant} {tid}"

    app.register_blueprint(tenants, url_prefix="/sub/<tenant>")

    @app.post("/upload")
    async def upload():
        return str(len(await request.get_data()))

    @app.get("/stream")
    async def stream():
        return parts.astream()

    @app.get("/stream-fails")
    async def stream_fails():
        return parts.afailing_stream()

    @app.get("/endless")
    async def endless():
        return parts.aendless()

    @app.get("/raises")
    async def raises():
        raise parts.Broken("before anything")

    @app.get("/handled/<int:status>")
    async def handled(status):
        raise parts.Refusal(status)

    @app.errorhandler(parts.Refusal)
    async def refused(error):
        return "refused", error.status

    @app.get("/abort/<int:status>")
    async def aborts(status):
        abort(status)

    @app.get("/redirect")
    async def redirects():
        return redirect("/plain/1")

    @app.get("/unavailable")
    async def unavailable():
        return "later", 503

    @app.get("/background/<n>")
    async def background(n):
        app.add_background_task(parts.abackground, n)
        return "started"

    @app.get("/headers")
    async def headers():
        return "headers", 200, parts.HEADERS

    @app.get("/excluded/<n>")
    async def excluded(n):
        return "fine"

    @app.get("/healthz")
    async def healthz():
        return "fine"

    @app.get("/myhealthz-report")
    async def report():
        return "fine"

    @app.websocket("/ws/<room>")
    async def echo(room):
        while True:
            text = await websocket.receive()
            parts.log.info("ws %s %s", room, text)
            await websocket.send(text)

    @app.websocket("/ws-refused/<room>")
    async def refuse(room):
        return "refused", 403

    @app.websocket("/ws-fails/<room>")
    async def fail(room):
        await websocket.receive()
        raise parts.BrokenSocket("in the websocket")

    return app


app = parts.mounted_asgi(make(), make())
