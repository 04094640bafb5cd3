"""Flask: blueprints in a blueprint, a second application by a dispatcher."""

import contract_parts as parts
from flask import Blueprint, Flask, Response, abort, redirect, request


def make():
    app = Flask("contract_flask")

    @app.get("/")
    def home():
        return "home"

    app.get("/plain/<n>")(parts.plain)
    app.get("/number/<n>")(parts.number)
    app.get("/late")(parts.late)
    app.get("/work")(parts.work)
    app.get("/hang")(parts.hang)

    outer, v1, users = (Blueprint(name, "contract_flask") for name in ("outer", "v1", "users"))

    @users.get("/users/<uid>/posts/<pid>")
    def post(uid, pid):
        return f"{uid} {pid}"

    v1.register_blueprint(users)
    outer.register_blueprint(v1, url_prefix="/v1")
    app.register_blueprint(outer, url_prefix="/api")

    tenants = Blueprint("tenants", "contract_flask")

    @tenants.get("/things/<tid>")
    def thing(tenant, tid):
        return f"{tenant} {tid}"

    app.register_blueprint(tenants, url_prefix="/sub/<tenant>")

    @app.post("/upload")
    def upload():
        return str(len(request.get_data()))

    @app.get("/stream")
    def stream():
        return Response(parts.stream())

    @app.get("/stream-fails")
    def stream_fails():
        return Response(parts.failing_stream())

    @app.get("/endless")
    def endless():
        return Response(parts.endless())

    @app.get("/raises")
    def raises():
        raise parts.Broken("before anything")

    @app.get("/handled/<int:status>")
    def handled(status):
        raise parts.Refusal(status)

    @app.errorhandler(parts.Refusal)
    def refused(error):
        return "refused", error.status

    @app.get("/abort/<int:status>")
    def aborts(status):
        abort(status)

    @app.get("/redirect")
    def redirects():
        return redirect("/plain/1")

    @app.get("/unavailable")
    def unavailable():
        return "later", 503

    @app.get("/headers")
    def headers():
        return "headers", 200, parts.HEADERS

    @app.get("/excluded/<n>")
    def excluded(n):
        return "fine"

    app.add_url_rule("/healthz", "healthz", lambda: "fine")
    app.add_url_rule("/myhealthz-report", "report", lambda: "fine")
    return app


app = parts.mounted_wsgi(make(), make())
