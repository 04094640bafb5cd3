"""Servers of WSGI: requests of applications without a framework, and no request below another span.

A framework whose class records its requests is passed as it is. Everything else that a server gets
is called through :func:`otel_distro.instrumentation._http_server.wsgi.wrap_application`: a bare
function, or middleware around a framework, which then finds the request that was begun outside of
it.

Threads and greenlets of a server inherit the context in which the server was started. A span that
is current there, such as that of a command, would be the parent of every request: servers run in
an empty context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, attach, detach

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import wsgi
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from otel_distro.instrumentation import Wrapper

_MADE_WITH = (
    ("werkzeug.serving", "BaseWSGIServer", "app"),
    ("waitress.server", "BaseWSGIServer", "application"),
    ("cheroot.wsgi", "Server", "wsgi_app"),
    ("gevent.pywsgi", "WSGIServer", "application"),
    ("tornado.wsgi", "WSGIContainer", "wsgi_application"),
    ("hypercorn.app_wrappers", "WSGIWrapper", "app"),
)
"""Module, class of servers, attribute in which it keeps its application."""

_SERVES = (
    ("socketserver", "BaseServer", "serve_forever"),
    ("gunicorn.workers.base", "Worker", "init_process"),
    ("waitress.server", "BaseWSGIServer", "run"),
    ("waitress.server", "MultiSocketServer", "run"),
    ("waitress.task", "ThreadedTaskDispatcher", "start_new_thread"),
    ("cheroot.server", "HTTPServer", "prepare"),
    ("cheroot.server", "HTTPServer", "serve"),
    ("gevent.baseserver", "BaseServer", "start"),
    ("eventlet.wsgi", "", "server"),
)
"""Module, class and method that serves, or starts what serves."""

_GUNICORN = ("base_async", "ggevent", "gthread", "gtornado", "sync")
"""Modules of gunicorn's workers for WSGI."""


class WSGIServersInstrumentor(Instrumentor):
    """Entry point ``wsgi``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: every server is optional, and wsgiref comes with Python."""
        return ()

    def install(self) -> None:
        """Wrap what servers are given, and how they serve."""
        chosen = Options("WSGI", self.arguments, is_server=True)
        self.patch_when_imported("wsgiref.handlers", "BaseHandler", "run", _run_by_wsgiref(chosen))
        self.patch_when_imported("gunicorn.workers.base", "Worker", "load_wsgi", _loaded_by_gunicorn(chosen))
        self.patch_when_imported("eventlet.wsgi", "", "server", _served_by_eventlet(chosen))
        for module, owner, attribute in _MADE_WITH:
            self.patch_when_imported(module, owner, "__init__", _made_with(attribute, chosen))
        for module, owner, attribute in _SERVES:
            self.patch_when_imported(module, owner, attribute, _in_empty_context)


def _run_by_wsgiref(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(handler: Any, application: Any) -> Any:
            return original(handler, wsgi.wrap_application(application, chosen))

        return run

    return wrap


def _served_by_eventlet(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def server(sock: Any, site: Any, *args: Any, **kwargs: Any) -> Any:
            return original(sock, wsgi.wrap_application(site, chosen), *args, **kwargs)

        return server

    return wrap


def _loaded_by_gunicorn(chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def load_wsgi(worker: Any) -> Any:
            result = original(worker)
            with guard("the application of a gunicorn worker"):
                # Workers of other packages, such as uvicorn's, serve ASGI; Tornado serves its own kind.
                modules = {base.__module__ for base in type(worker).__mro__}
                kinds = {base.__module__ for base in type(worker.wsgi).__mro__}
                if modules & {f"gunicorn.workers.{name}" for name in _GUNICORN} and "tornado.web" not in kinds:
                    worker.wsgi = wsgi.wrap_application(worker.wsgi, chosen)
            return result

        return load_wsgi

    return wrap


def _made_with(attribute: str, chosen: Options) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(server: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            original(server, *args, **kwargs)
            with guard("the application of a server"):
                application = getattr(server, attribute, None)
                if callable(application):
                    wrapped = wsgi.wrap_application(application, chosen)
                    if wrapped is not application:
                        setattr(server, attribute, wrapped)

        return __init__

    return wrap


def _in_empty_context(original: Callable[..., Any]) -> Callable[..., Any]:
    def serve(*args: Any, **kwargs: Any) -> Any:
        token = attach(Context())
        try:
            return original(*args, **kwargs)
        finally:
            detach(token)

    return serve
