"""Bottle: a mount in a mount, a mounted second application."""

import contract_parts as parts
from bottle import Bottle, HTTPResponse, abort, redirect, request, response


def answer_refusal(callback):
    """Be the exception handler."""

    def view(*args, **kwargs):
        try:
            return callback(*args, **kwargs)
        except parts.Refusal as error:
            return HTTPResponse("refused", error.status)

    return view


def make():
    app, v1, users, tenants = (Bottle() for _ in range(4))
    app.install(answer_refusal)

    @users.get("/users/<uid>/posts/<pid>")
    def post(uid, pid):
        return f"{uid} {pid}"

    v1.mount("/v1/", users)
    app.mount("/api/", v1)

    @tenants.get("/things/<tid>")
    def thing(tid):
        return f"acme {tid}"

    app.mount("/sub/acme/", tenants)

    @app.get("/")
    def home():
        return "home"

    app.get("/plain/<n>")(parts.plain)
    app.get("/number/<n>")(parts.number)
    app.get("/late")(parts.late)
    app.get("/work")(parts.work)

    @app.post("/upload")
    def upload():
        return str(len(request.body.read()))

    app.get("/stream")(parts.stream)
    app.get("/stream-fails")(parts.failing_stream)
    app.get("/endless")(parts.endless)

    @app.get("/raises")
    def raises():
        raise parts.Broken("before anything")

    @app.get("/handled/<status:int>")
    def handled(status):
        raise parts.Refusal(status)

    @app.get("/abort/<status:int>")
    def aborts(status):
        abort(status)

    @app.get("/redirect")
    def redirects():
        redirect("/plain/1", 302)

    @app.get("/unavailable")
    def unavailable():
        response.status = 503
        return "later"

    @app.get("/headers")
    def headers():
        response.headers.update(parts.HEADERS)
        return "headers"

    app.get("/excluded/<n>")(lambda n: "fine")
    app.get("/healthz")(lambda: "fine")
    app.get("/myhealthz-report")(lambda: "fine")
    return app


app = make()
app.mount("/inner/", make())
