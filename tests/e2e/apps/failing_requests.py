"""ASGI and WSGI applications whose requests fail, and answer with 404.

Run with a port: serves the second by Werkzeug's development server.
"""

import sys

from fastapi import FastAPI, HTTPException
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

app = FastAPI()


@app.get("/fails")
async def fails():
    raise ValueError("in a request")


@app.get("/chained")
async def chained():
    try:
        await fails()
    except ValueError as error:
        raise RuntimeError("outer") from error


@app.get("/missing")
async def missing():
    raise HTTPException(404)


def respond(environ, start_response):
    if environ["PATH_INFO"] == "/missing":
        start_response("404 Not Found", [("Content-Length", "0")])
        return [b""]
    raise ValueError("in a request")


wsgi = OpenTelemetryMiddleware(respond)

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(sys.argv[1]), wsgi)
