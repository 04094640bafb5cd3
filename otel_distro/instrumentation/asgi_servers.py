"""Servers of ASGI applications: requests of applications that no instrumented framework makes.

An application of a framework whose class is patched makes its own requests. For every other one,
bare or inside a middleware, the server's module is where the application is known and the client's
address is right. A request has no parent but the one that the client sent, whatever span was
current when the server started.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, attach, detach

from otel_distro._runtime.diagnostics import guard
from otel_distro._startup import triggers
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import wsgi
from otel_distro.instrumentation._http_server.asgi import wrap_application
from otel_distro.instrumentation._http_server.carrier import is_recorded
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.instrumentation import Wrapper

_WRAPPED = "_otel_distro_wrapped"
_FRAMEWORKS = {
    "fastapi.applications.FastAPI": "fastapi",
    "starlette.applications.Starlette": "starlette",
    "quart.app.Quart": "quart",
    "litestar.app.Litestar": "litestar",
    "django.core.handlers.asgi.ASGIHandler": "django",
    "falcon.asgi.app.App": "falcon",
    "flask.app.Flask": "flask",
    "django.core.handlers.wsgi.WSGIHandler": "django",
    "falcon.app.App": "falcon",
    "pyramid.router.Router": "pyramid",
}


class AsgiServersInstrumentor(Instrumentor):
    """Entry point ``asgi``: uvicorn, hypercorn, granian, daphne, and gunicorn's ASGI worker."""

    def install(self) -> None:
        """Wrap the applications of every server that is, or will be, imported."""
        wrap = _Applications(self.arguments)
        for module, owner, attribute, wrapper in (
            ("uvicorn.server", "Server", "serve", _in_empty_context),
            ("uvicorn.config", "Config", "load", _uvicorn(wrap)),
            ("hypercorn.app_wrappers", "ASGIWrapper", "__call__", _hypercorn(wrap.asgi)),
            ("hypercorn.app_wrappers", "WSGIWrapper", "__call__", _hypercorn(wrap.wsgi)),
            ("granian.server.mp", "", "_asgi_call_wrap", _granian(wrap.asgi)),
            ("granian.server.mp", "", "_wsgi_call_wrap", _granian(wrap.wsgi)),
            ("granian.server.mt", "", "_asgi_call_wrap", _granian(wrap.asgi)),
            ("granian.server.mt", "", "_wsgi_call_wrap", _granian(wrap.wsgi)),
            ("granian.server.embed", "", "_asgi_call_wrap", _granian(wrap.asgi)),
            ("gunicorn.workers.gasgi", "ASGIWorker", "_serve", _in_empty_context),
            ("gunicorn.workers.gasgi", "ASGIWorker", "load_wsgi", _gunicorn(wrap)),
            ("daphne.server", "Server", "__init__", _daphne(wrap)),
            ("daphne.server", "Server", "run", _run_in_empty_context),
        ):
            self.patch_when_imported(module, owner, attribute, wrapper)


class _Applications:
    """Wraps the applications that servers are given."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._asgi = Options("ASGI", arguments, is_server=True)
        self._wsgi = Options("WSGI", is_server=True)
        self._disabled = triggers.disabled(os.environ)

    def asgi(self, application: Any) -> Any:
        """Return an ASGI application that makes requests."""
        with guard("wrapping an application"):
            if not self._leaves_alone(application):
                return wrap_application(application, self._asgi)
        return application

    def wsgi(self, application: Any) -> Any:
        """Return a WSGI application that makes requests."""
        with guard("wrapping an application"):
            if "wsgi" not in self._disabled and not self._leaves_alone(application):
                return wsgi.wrap_application(application, self._wsgi)
        return application

    def _leaves_alone(self, application: Any) -> bool:
        """Return whether requests are made by the application itself, or are not wanted."""
        if is_recorded(application):
            return True
        names = (f"{base.__module__}.{base.__qualname__}" for base in type(application).__mro__)
        return any(_FRAMEWORKS.get(name) in self._disabled for name in names)


def _in_empty_context(original: Callable[..., Any]) -> Callable[..., Any]:
    async def serve(*args: Any, **kwargs: Any) -> Any:
        token = attach(Context())
        try:
            return await original(*args, **kwargs)
        finally:
            detach(token)

    return serve


def _run_in_empty_context(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        token = attach(Context())
        try:
            return original(*args, **kwargs)
        finally:
            detach(token)

    return run


def _uvicorn(wrap: _Applications) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def load(config: Any) -> None:
            original(config)
            with guard("wrapping an application"):
                outer = config.loaded_app
                # Inside of what puts the client's address into the scope.
                holder, name = (
                    (outer, "app") if type(outer).__name__ == "ProxyHeadersMiddleware" else (config, "loaded_app")
                )
                inner = getattr(holder, name)
                if config.interface == "wsgi" and hasattr(inner, "app"):
                    # It runs the application in a thread, which has no context of the request.
                    inner.app = wrap.wsgi(inner.app)
                else:
                    setattr(holder, name, wrap.asgi(inner))

        return load

    return wrapper


def _hypercorn(wrap: Callable[[Any], Any]) -> Wrapper:
    """Return what wraps the call of hypercorn's wrapper, in the task of a request."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        async def __call__(server: Any, *args: Any) -> None:  # noqa: N807
            if _WRAPPED not in server.__dict__:
                server.app = wrap(server.app)
                server.__dict__[_WRAPPED] = True
            token = attach(Context())
            try:
                await original(server, *args)
            finally:
                detach(token)

        return __call__

    return wrapper


def _daphne(wrap: _Applications) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(server: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            original(server, *args, **kwargs)
            server.application = wrap.asgi(server.application)

        return __init__

    return wrapper


def _granian(wrap: Callable[[Any], Any]) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def _callback_wrapper(callback: Any, *args: Any, **kwargs: Any) -> Any:
            # Called once in a worker, which runs requests in copies of its context from now on.
            attach(Context())
            return original(wrap(callback), *args, **kwargs)

        return _callback_wrapper

    return wrapper


def _gunicorn(wrap: _Applications) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def load_wsgi(worker: Any) -> None:
            original(worker)
            worker.asgi = wrap.asgi(worker.asgi)

        return load_wsgi

    return wrapper
