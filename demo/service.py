"""How a service listens."""

from __future__ import annotations

import argparse
import socket

import uvicorn
from fastapi import FastAPI

from demo.process import end_orderly, start_logging


def serve(app: FastAPI) -> None:
    """Serve ``app`` on loopback until SIGTERM or Ctrl-C, then exit with status 0.

    Command line: ``--port N`` (default 8000), or ``--socket FD`` for a listening socket inherited
    from the parent.
    """
    parser = argparse.ArgumentParser(description=app.title)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (default 8000)")
    where.add_argument("--socket", type=int, metavar="FD", help="inherited listening socket, instead of a port")
    options = parser.parse_args()

    start_logging()
    # uvicorn has its own signal handlers while it serves. At SIGTERM it finishes the open requests,
    # restores the previous handlers and raises the signal again: only then do they end the process.
    end_orderly()
    if options.socket is None:
        listener = socket.create_server(("127.0.0.1", options.port))
    else:
        listener = socket.socket(fileno=options.socket)
    # log_config=None: uvicorn logs through the handlers of the root logger.
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    server.run(sockets=[listener])
