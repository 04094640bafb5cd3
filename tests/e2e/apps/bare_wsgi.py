"""A WSGI application without a framework, served inside a span as a command with telemetry does.

Usage: bare_wsgi.py SERVER PORT, or ``bare_wsgi:application`` under a server with a command.
"""

import sys
import time

from opentelemetry import trace

HEADERS = [("Content-Type", "text/plain")]


def application(environ, start_response):
    where = environ["PATH_INFO"]
    if where == "/fail":
        raise ValueError("of the application")
    if where == "/slow":
        time.sleep(60)
    start_response("404 Not Found" if where == "/nowhere" else "200 OK", list(HEADERS))
    if where == "/file":
        return environ.get("wsgi.file_wrapper", lambda file: iter([file.read()]))(open(__file__, "rb"))
    if where in ("/steps", "/broken"):
        return steps(where)
    return [b"listed"]


def steps(where):
    yield b"a"
    if where == "/broken":
        raise KeyError("in the stream")
    yield b"b"


def main(server, port):
    if server == "waitress":
        import waitress

        waitress.serve(application, host="127.0.0.1", port=port)
    elif server == "wsgiref":
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", port, application).serve_forever()
    else:
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", port), application).serve_forever()


if __name__ == "__main__":
    with trace.get_tracer("command").start_as_current_span("command"):
        main(sys.argv[1], int(sys.argv[2]))
