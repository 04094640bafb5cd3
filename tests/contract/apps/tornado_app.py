"""Tornado: an application in an application, a host."""

import asyncio
import sys

import contract_parts as parts
from tornado.routing import PathMatches, Rule
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler


def get(work):
    """Return a handler that answers with the text that ``work`` returns."""

    class Handler(RequestHandler):
        async def get(self, **params):
            made = work(self, **params)
            self.finish(await made if asyncio.iscoroutine(made) else made)

    return Handler


class Plain(RequestHandler):
    def get(self, n):
        self.finish(parts.plain(n))

    head = get


class Upload(RequestHandler):
    def post(self):
        self.finish(str(len(self.request.body)))


def stream(chunks):
    class Stream(RequestHandler):
        async def get(self):
            async for chunk in chunks():
                self.write(chunk)
                await self.flush()

    return Stream


class Raises(RequestHandler):
    def get(self):
        raise parts.Broken("before anything")


class Handled(RequestHandler):
    def get(self, status):
        raise parts.Refusal(int(status))

    def log_exception(self, typ, value, tb):
        if not isinstance(value, parts.Refusal):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code, **kwargs):
        self.set_status(kwargs["exc_info"][1].status)
        self.finish("refused")


def abort(handler, status):
    raise HTTPError(int(status))


class Redirect(RequestHandler):
    def get(self):
        self.redirect("/plain/1")


def unavailable(handler):
    handler.set_status(503)
    return "later"


def headers(handler):
    for name, value in parts.HEADERS.items():
        handler.set_header(name, value)
    return "headers"


class Echo(WebSocketHandler):
    def open(self, room):
        self.room = room

    def on_message(self, message):
        parts.log.info("ws %s %s", self.room, message)
        self.write_message(message)


class Refuse(WebSocketHandler):
    async def get(self, room):
        raise HTTPError(403)


class Fail(WebSocketHandler):
    def open(self, room):
        pass

    def on_message(self, message):
        raise parts.BrokenSocket("in the websocket")


def make(prefix=""):
    inner = Application(
        [(rf"{prefix}/api/v1/users/(?P<uid>[^/]+)/posts/(?P<pid>[^/]+)", get(lambda h, uid, pid: f"{uid} {pid}"))]
    )
    app = Application(
        [
            (rf"{prefix}/", get(lambda h: "home")),
            (rf"{prefix}/plain/(?P<n>[^/]+)", Plain),
            (rf"{prefix}/number/(?P<n>[^/]+)", get(lambda h, n: parts.anumber(n))),
            Rule(PathMatches(rf"{prefix}/api/.*"), inner),
            (
                rf"{prefix}/sub/(?P<tenant>[^/]+)/things/(?P<tid>[^/]+)",
                get(lambda h, tenant, tid: f"{tenant} {tid}"),
            ),
            (rf"{prefix}/upload", Upload),
            (rf"{prefix}/stream", stream(parts.astream)),
            (rf"{prefix}/stream-fails", stream(parts.afailing_stream)),
            (rf"{prefix}/endless", stream(parts.aendless)),
            (rf"{prefix}/raises", Raises),
            (rf"{prefix}/handled/(?P<status>[^/]+)", Handled),
            (rf"{prefix}/abort/(?P<status>[^/]+)", get(abort)),
            (rf"{prefix}/redirect", Redirect),
            (rf"{prefix}/unavailable", get(unavailable)),
            (rf"{prefix}/late", get(lambda h: parts.alate())),
            (rf"{prefix}/work", get(lambda h: parts.work())),
            (rf"{prefix}/headers", get(headers)),
            (rf"{prefix}/excluded/(?P<n>[^/]+)", get(lambda h, n: "fine")),
            (rf"{prefix}/healthz", get(lambda h: "fine")),
            (rf"{prefix}/myhealthz-report", get(lambda h: "fine")),
            (rf"{prefix}/ws/(?P<room>[^/]+)", Echo),
            (rf"{prefix}/ws-refused/(?P<room>[^/]+)", Refuse),
            (rf"{prefix}/ws-fails/(?P<room>[^/]+)", Fail),
        ],
        compress_response=False,
    )
    app.add_handlers(parts.HOST.replace(".", r"\."), [(r"/onhost/(?P<z>[^/]+)", get(lambda h, z: z))])
    return app


async def main():
    app = make()
    app.wildcard_router.rules.insert(0, Rule(PathMatches(r"/inner/.*"), make("/inner")))
    server = app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()
    server.stop()


if __name__ == "__main__":
    asyncio.run(main())
