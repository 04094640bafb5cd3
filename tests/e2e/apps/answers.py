"""Responses below 500, normal ends and cancellations, and one error: each leaves a span."""

import asyncio
import sys

import click
import django
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client
from django.urls import path
from flask import Flask, abort
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

tracer = trace.get_tracer("answers")


def view(error):
    def handle(request):
        with tracer.start_as_current_span(type(error).__name__):
            raise error

    return handle


settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
urlpatterns = [path("missing", view(Http404("no order"))), path("denied", view(PermissionDenied()))]
django.setup()
print([Client().get(f"/{name}").status_code for name in ("missing", "denied")])

flask = Flask("shop")


@flask.get("/abort/<int:status>")
def stop(status):
    with tracer.start_as_current_span(f"abort {status}"):
        abort(status)


print([flask.test_client().get(f"/abort/{status}").status_code for status in (403, 409, 503)])


async def gone(request):
    with tracer.start_as_current_span("HTTPException"):
        raise HTTPException(410)


async def ask(app):
    async def receive():
        return {"type": "http.request"}

    async def send(message):
        if message["type"] == "http.response.start":
            print(message["status"])

    await app({"type": "http", "method": "GET", "path": "/gone", "headers": []}, receive, send)


asyncio.run(ask(Starlette(routes=[Route("/gone", gone)])))


async def cancel():
    async def wait():
        with tracer.start_as_current_span("cancelled"), tracer.start_span("cancelled"):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(cancel())


@click.command()
def command():
    with tracer.start_as_current_span("Exit"):
        raise click.exceptions.Exit(0)


try:
    command([])
except SystemExit as end:
    sys.exit(end.code)
