"""Exceptions that a server raises into an application whose client has closed the connection.

They are recognised by where they come from: the connection of the server, and no code of the
application between. A broken connection to a database or another service stays an error.
"""

from __future__ import annotations

import errno
import sys
from typing import Final

from otel_distro.errors.frames import app_file_name

_ERRNOS: Final = frozenset(
    {errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, getattr(errno, "ESHUTDOWN", errno.EPIPE)}
)
_PACKAGES: Final = frozenset(
    {"cheroot", "daphne", "granian", "gunicorn", "hypercorn", "socketserver", "uvicorn", "waitress", "wsgiref"}
)
_MODULES: Final = frozenset(
    {
        "aiohttp.web_fileresponse",
        "aiohttp.web_response",
        "aiohttp.web_ws",
        "eventlet.wsgi",
        "gevent.pywsgi",
        "werkzeug.serving",
    }
)
"""Parts of packages that hold more than a server."""


def is_lost_client(error: BaseException) -> bool:
    """Return whether a server has raised ``error`` because its client has closed the connection."""
    if not isinstance(error, OSError) or isinstance(error, ConnectionRefusedError):
        return False
    if isinstance(error, ConnectionError) or error.errno in _ERRNOS:
        return _is_raised_by_server(error)
    return type(error) is OSError and "uwsgi" in sys.modules and _is_raised_by_uwsgi(error)


def _is_raised_by_server(error: OSError) -> bool:
    """Return whether a frame of a server is inside of the innermost one of the application."""
    found, tb = False, error.__traceback__
    while tb is not None:
        frame = tb.tb_frame
        if app_file_name(frame.f_code.co_filename):
            found = False
        elif not found:
            module = str(frame.f_globals.get("__name__", ""))
            found = module in _MODULES or module.partition(".")[0] in _PACKAGES
        tb = tb.tb_next
    return found


def _is_raised_by_uwsgi(error: OSError) -> bool:
    """Return whether a function in C of uWSGI has raised ``error``: there is only its text."""
    text = error.args[0] if len(error.args) == 1 else None
    return isinstance(text, str) and (text == "write error" or text.endswith(" on wsgi.input"))
