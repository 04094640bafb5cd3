"""Falcon as WSGI application."""

import contract_parts as parts
import falcon


def get(work):
    """Return a resource whose GET answers with the text that ``work`` returns."""

    class Resource:
        def on_get(self, req, resp, **params):
            resp.content_type = falcon.MEDIA_TEXT
            resp.text = work(resp, **params)

    return Resource()


class Upload:
    def on_post(self, req, resp):
        resp.text = str(len(req.bounded_stream.read()))


class Stream:
    def __init__(self, chunks):
        self.chunks = chunks

    def on_get(self, req, resp):
        resp.stream = self.chunks()


def raises(resp):
    raise parts.Broken("before anything")


def handled(resp, status):
    raise parts.Refusal(status)


def refused(req, resp, error, params):
    resp.status, resp.text = error.status, "refused"


def abort(resp, status):
    raise falcon.HTTPError(status)


def redirect(resp):
    raise falcon.HTTPFound("/plain/1")


def unavailable(resp):
    resp.status = 503
    return "later"


def headers(resp):
    resp.set_headers(parts.HEADERS)
    return "headers"


def make():
    app = falcon.App()
    app.add_error_handler(parts.Refusal, refused)
    for path, resource in {
        "/": get(lambda resp: "home"),
        "/plain/{n}": get(lambda resp, n: parts.plain(n)),
        "/number/{n}": get(lambda resp, n: parts.number(n)),
        "/api/v1/users/{uid}/posts/{pid}": get(lambda resp, uid, pid: f"{uid} {pid}"),
        "/sub/{tenant}/things/{tid}": get(lambda resp, tenant, tid: f"{tenant} {tid}"),
        "/upload": Upload(),
        "/stream": Stream(parts.stream),
        "/stream-fails": Stream(parts.failing_stream),
        "/endless": Stream(parts.endless),
        "/raises": get(raises),
        "/handled/{status:int}": get(handled),
        "/abort/{status:int}": get(abort),
        "/redirect": get(redirect),
        "/unavailable": get(unavailable),
        "/late": get(lambda resp: parts.late()),
        "/work": get(lambda resp: parts.work()),
        "/headers": get(headers),
        "/excluded/{n}": get(lambda resp, n: "fine"),
        "/healthz": get(lambda resp: "fine"),
        "/myhealthz-report": get(lambda resp: "fine"),
    }.items():
        app.add_route(path, resource)
    return app


app = parts.mounted_wsgi(make(), make())
