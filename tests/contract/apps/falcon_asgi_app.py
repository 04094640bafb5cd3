"""Falcon as ASGI application."""

import contract_parts as parts
import falcon
import falcon.asgi


def get(work):
    """Return a resource whose GET answers with the text that ``work`` returns."""

    class Resource:
        async def on_get(self, req, resp, **params):
            resp.content_type = falcon.MEDIA_TEXT
            resp.text = await work(resp, **params)

    return Resource()


class Upload:
    async def on_post(self, req, resp):
        resp.text = str(len(await req.stream.read()))


class Stream:
    def __init__(self, chunks):
        self.chunks = chunks

    async def on_get(self, req, resp):
        resp.stream = self.chunks()


class Echo:
    async def on_websocket(self, req, ws, room):
        await ws.accept()
        try:
            while True:
                text = await ws.receive_text()
                parts.log.info("ws %s %s", room, text)
                await ws.send_text(text)
        except falcon.WebSocketDisconnected:
            pass


class Refuse:
    async def on_websocket(self, req, ws, room):
        raise falcon.HTTPForbidden


class Fail:
    async def on_websocket(self, req, ws, room):
        await ws.accept()
        await ws.receive_text()
        raise parts.BrokenSocket("in the websocket")


def answer(text):
    async def work(resp, **params):
        return text.format(**params)

    return work


async def plain(resp, n):
    return parts.plain(n)


async def number(resp, n):
    return await parts.anumber(n)


async def raises(resp):
    raise parts.Broken("before anything")


async def handled(resp, status):
    raise parts.Refusal(status)


async def refused(req, resp, error, params, **kwargs):
    resp.status, resp.text = error.status, "refused"


async def abort(resp, status):
    raise falcon.HTTPError(status)


async def redirect(resp):
    raise falcon.HTTPFound("/plain/1")


async def unavailable(resp):
    resp.status = 503
    return "later"


async def late(resp):
    return await parts.alate()


async def background(resp, n):
    async def task():
        await parts.abackground(n)

    resp.schedule(task)
    return "started"


async def work(resp):
    return parts.work()


async def headers(resp):
    resp.set_headers(parts.HEADERS)
    return "headers"


app = falcon.asgi.App()
app.add_error_handler(parts.Refusal, refused)
for path, resource in {
    "/": get(answer("home")),
    "/plain/{n}": get(plain),
    "/number/{n}": get(number),
    "/api/v1/users/{uid}/posts/{pid}": get(answer("{uid} {pid}")),
    "/sub/{tenant}/things/{tid}": get(answer("{tenant} {tid}")),
    "/upload": Upload(),
    "/stream": Stream(parts.astream),
    "/stream-fails": Stream(parts.afailing_stream),
    "/endless": Stream(parts.aendless),
    "/raises": get(raises),
    "/handled/{status:int}": get(handled),
    "/abort/{status:int}": get(abort),
    "/redirect": get(redirect),
    "/unavailable": get(unavailable),
    "/late": get(late),
    "/background/{n}": get(background),
    "/work": get(work),
    "/headers": get(headers),
    "/excluded/{n}": get(answer("fine")),
    "/healthz": get(answer("fine")),
    "/myhealthz-report": get(answer("fine")),
    "/ws/{room}": Echo(),
    "/ws-refused/{room}": Refuse(),
    "/ws-fails/{room}": Fail(),
}.items():
    app.add_route(path, resource)
