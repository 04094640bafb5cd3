"""Pyramid: `include` in `include`, each with a prefix."""

import contract_parts as parts
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, exception_response
from pyramid.response import Response


def answer(work):
    """Return a view that answers with the text that ``work`` returns."""

    def view(request):
        return Response(work(**request.matchdict), content_type="text/plain")

    return view


def stream(chunks):
    def view(request):
        return Response(app_iter=chunks())

    return view


def upload(request):
    return Response(str(len(request.body)))


def raises(request):
    raise parts.Broken("before anything")


def handled(request):
    raise parts.Refusal(int(request.matchdict["status"]))


def refused(error, request):
    return Response("refused", status=error.status)


def abort(request):
    raise exception_response(int(request.matchdict["status"]))


def redirect(request):
    raise HTTPFound("/plain/1")


def unavailable(request):
    return Response("later", status=503)


def headers(request):
    response = Response("headers")
    response.headers.update(parts.HEADERS)
    return response


def add(config, path, view, methods=("GET", "HEAD")):
    name = f"{config.route_prefix or ''}{path}"
    config.add_route(name, path, request_method=methods)
    config.add_view(view, route_name=name)


def users(config):
    add(config, "/users/{uid}/posts/{pid}", answer(lambda uid, pid: f"{uid} {pid}"))


def v1(config):
    config.include(users, route_prefix="/v1")


def tenants(config):
    add(config, "/things/{tid}", answer(lambda tenant, tid: f"{tenant} {tid}"))


def make():
    config = Configurator()
    config.include(v1, route_prefix="/api")
    config.include(tenants, route_prefix="/sub/{tenant}")
    for path, view in {
        "/": answer(lambda: "home"),
        "/plain/{n}": answer(parts.plain),
        "/number/{n}": answer(parts.number),
        "/stream": stream(parts.stream),
        "/stream-fails": stream(parts.failing_stream),
        "/endless": stream(parts.endless),
        "/raises": raises,
        "/handled/{status}": handled,
        "/abort/{status}": abort,
        "/redirect": redirect,
        "/unavailable": unavailable,
        "/late": answer(parts.late),
        "/work": answer(parts.work),
        "/headers": headers,
        "/excluded/{n}": answer(lambda n: "fine"),
        "/healthz": answer(lambda: "fine"),
        "/myhealthz-report": answer(lambda: "fine"),
    }.items():
        add(config, path, view)
    add(config, "/upload", upload, "POST")
    config.add_exception_view(refused, context=parts.Refusal)
    return config.make_wsgi_app()


app = parts.mounted_wsgi(make(), make())
