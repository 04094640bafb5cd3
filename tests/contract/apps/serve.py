"""Servers that are started by a call: `serve.py SERVER MODULE PORT [reload]`."""

import sys

server, module, port, *options = sys.argv[1:]
port = int(port)
if server == "gevent":
    from gevent import monkey

    monkey.patch_all()

import importlib

if __name__ == "__main__":
    app = importlib.import_module(module).app
    if server == "gevent":
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", port), app).serve_forever()
    elif server == "werkzeug":
        from werkzeug.serving import run_simple

        run_simple("127.0.0.1", port, app, threaded=True, use_reloader="reload" in options)
    elif server == "wsgiref":
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", port, app).serve_forever()
