"""A WSGI application without a framework."""

import contract_parts as parts

TEXT = {200: "OK", 302: "Found", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
        500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


def route(environ, path):
    """Return status, headers and body."""
    first, _, rest = path.lstrip("/").partition("/")
    if first in {"", "plain", "number"} and environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        return 405, {}, [b"not allowed"]
    if path == "/":
        return 200, {}, [b"home"]
    if first in {"plain", "number"}:
        return 200, {}, [getattr(parts, first)(rest).encode()]
    if path == "/upload":
        size = 0
        while chunk := environ["wsgi.input"].read(min(65536, int(environ["CONTENT_LENGTH"]) - size)):
            size += len(chunk)
        return 200, {}, [str(size).encode()]
    if path in {"/stream", "/stream-fails", "/endless"}:
        return (
            200,
            {},
            {"/stream": parts.stream, "/stream-fails": parts.failing_stream, "/endless": parts.endless}[path](),
        )
    if path == "/raises":
        raise parts.Broken("before anything")
    if first == "handled":
        raise parts.Refusal(int(rest))
    if first == "abort":
        return int(rest), {}, [b"aborted"]
    if path == "/redirect":
        return 302, {"Location": "/plain/1"}, [b""]
    if path == "/unavailable":
        return 503, {}, [b"later"]
    if path == "/late":
        return 200, {}, [parts.late().encode()]
    if path == "/hang":
        return 200, {}, [parts.hang().encode()]
    if path == "/work":
        return 200, {}, [parts.work().encode()]
    if path == "/headers":
        return 200, parts.HEADERS, [b"headers"]
    if first in {"excluded", "healthz", "myhealthz-report"}:
        return 200, {}, [b"fine"]
    return 404, {}, [b"unknown"]


def app(environ, start_response):
    try:
        status, headers, body = route(environ, environ["PATH_INFO"])
    except parts.Refusal as refusal:
        status, headers, body = refusal.status, {}, [b"refused"]
    length = {"Content-Length": str(sum(map(len, body)))} if isinstance(body, list) else {}
    start_response(f"{status} {TEXT[status]}", [("Content-Type", "text/plain"), *{**length, **headers}.items()])
    return [] if environ["REQUEST_METHOD"] == "HEAD" and isinstance(body, list) else body


app = parts.mounted_wsgi(app, app)
