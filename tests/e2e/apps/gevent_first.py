"""Patched by gevent before any other import, as locust does."""

from gevent import monkey

monkey.patch_all()

import logging

import gevent
import requests
from gevent.pywsgi import WSGIServer

logging.basicConfig(format="%(message)s")


def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def ask(port, number):
    answer = requests.get(f"http://127.0.0.1:{port}/{number}", timeout=10)
    logging.warning("greenlet %d %s", number, answer.text)


server = WSGIServer(("127.0.0.1", 0), page, log=None)
server.start()
gevent.joinall([gevent.spawn(ask, server.server_port, number) for number in range(10)], raise_error=True)
server.stop()
print("end")
raise SystemExit(4)
